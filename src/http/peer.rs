//! Where a request comes from. What a proxy says of it is believed only of proxies that the operator
//! has listed: everybody else could say anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The client, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress {
    pub ip: IpAddr,
    /// Whether it speaks HTTPS, with us or with a proxy.
    pub is_https: bool,
    /// Whether the connection is a listed proxy's, whose other headers count too.
    pub is_by_proxy: bool,
}

impl ClientAddress {
    /// Of a request that came over no connection.
    pub const UNKNOWN: Self = Self {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        is_https: false,
        is_by_proxy: false,
    };
}

/// The proxies whose headers are believed, and the address that people use.
#[derive(Clone, Debug, Default)]
pub struct Front {
    pub trusted: Vec<IpNet>,
    /// Whether people use it by HTTPS.
    pub is_https: bool,
    /// `https://chat.example.org`
    pub public_origin: Option<String>,
    /// Other sites whose pages may use the API.
    pub cors: Vec<String>,
    /// The address that people use, if that is known.
    pub public_url: Option<String>,
}

impl Front {
    /// The right-most address that no listed proxy has: what stands before it in the header, anybody may
    /// have written.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let is_by_proxy = self.trusts(peer);
        let direct = ClientAddress {
            ip: peer.to_canonical(),
            is_https: self.is_https,
            is_by_proxy,
        };
        if !is_by_proxy {
            return direct;
        }
        let mut ip = direct.ip;
        for hop in listed(headers, "x-forwarded-for").into_iter().rev() {
            let Some(hop) = address(&hop) else { break };
            ip = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        let protocols = listed(headers, "x-forwarded-proto");
        let is_https = protocols
            .last()
            .map_or(self.is_https, |word| word.eq_ignore_ascii_case("https"));
        ClientAddress {
            ip,
            is_https: self.is_https || is_https,
            is_by_proxy,
        }
    }

    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }
}

/// The values of a header that is a list, wherever it is cut into lines.
fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        // What cannot be read in a line hides nothing else in it.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|word| String::from_utf8_lossy(word).trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_matches(['[', ']']);
    let ip = bare.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn front() -> Front {
        Front {
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            ..Front::default()
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_stranger_s_headers_are_nothing() {
        let said = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
        ]);
        let client = front().client(ip("192.168.0.9"), &said);
        assert_eq!((client.ip, client.is_https), (ip("192.168.0.9"), false));
    }

    #[test]
    fn a_listed_proxy_is_believed_as_far_as_the_first_stranger() {
        let said = headers(&[
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.1.1.1"),
            ("x-forwarded-proto", "https"),
        ]);
        let client = front().client(ip("10.0.0.1"), &said);
        assert_eq!((client.ip, client.is_https), (ip("1.2.3.4"), true));
        let mapped = front().client(ip("::ffff:10.0.0.1"), &said);
        assert!(mapped.is_by_proxy);
    }

    #[test]
    fn what_is_no_address_ends_the_way() {
        let said = headers(&[("x-forwarded-for", "1.2.3.4, unknown, [2001:db8::7]:81")]);
        let client = front().client(ip("10.0.0.1"), &said);
        assert_eq!(client.ip, ip("2001:db8::7"));
        let mut odd = HeaderMap::new();
        odd.insert(
            "x-forwarded-for",
            HeaderValue::from_bytes(b"\xff\xfe, 1.2.3.4").unwrap(),
        );
        let client = front().client("10.0.0.1".parse().unwrap(), &odd);
        assert_eq!(client.ip, "1.2.3.4".parse::<IpAddr>().unwrap());
        let said = headers(&[("x-forwarded-for", "nonsense")]);
        assert_eq!(front().client(ip("10.0.0.1"), &said).ip, ip("10.0.0.1"));
    }
}
