# Varnish, which caches by its built-in rules: nothing is said here but where the servers are.
vcl 4.1;

backend pollen {
    .host = "127.0.0.1";
    .port = "{pollen}";
}

backend sse {
    .host = "127.0.0.1";
    .port = "{sse}";
}

sub vcl_recv {
    if (req.url == "/sse") {
        set req.backend_hint = sse;
    } else {
        set req.backend_hint = pollen;
    }
}
