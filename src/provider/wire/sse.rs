//! Server-sent events, as model servers send them: the event stream format of the HTML standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), reduced to its data.
//! `event:`, `id:` and `retry:` are passed over: what an event is, its JSON says.

use std::mem;

/// Puts lines together to events.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    data: String,
    state: State,
    seen_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    /// There has been a line of data.
    Open,
    Complete,
}

impl Assembler {
    /// Takes the next line, without its end. Whether it completes an event.
    pub fn line(&mut self, line: &str) -> bool {
        let line = if mem::replace(&mut self.seen_line, true) {
            line
        } else {
            line.strip_prefix('\u{FEFF}').unwrap_or(line)
        };
        if line.is_empty() {
            return self.end();
        }
        let value = match line.split_once(':') {
            Some(("data", value)) => value.strip_prefix(' ').unwrap_or(value),
            None if line == "data" => "",
            // A comment (keep-alive) or another field.
            _ => return false,
        };
        if self.state == State::Open {
            self.data.push('\n');
        } else {
            self.data.clear();
            self.state = State::Open;
        }
        self.data.push_str(value);
        false
    }

    /// The data of the event that has just been completed, or is being put together.
    pub fn data(&self) -> &str {
        match self.state {
            State::Empty => "",
            State::Open | State::Complete => &self.data,
        }
    }

    /// The stream has ended. An event that its server forgot to close with an empty line counts.
    pub fn end(&mut self) -> bool {
        let is_complete = self.state == State::Open;
        self.state = if is_complete {
            State::Complete
        } else {
            State::Empty
        };
        is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let mut assembler = Assembler::default();
        let mut events = Vec::new();
        for line in text.split('\n') {
            if assembler.line(line.trim_end_matches('\r')) {
                events.push(assembler.data().to_owned());
            }
        }
        if assembler.end() {
            events.push(assembler.data().to_owned());
        }
        events
    }

    #[test]
    fn comments_and_other_fields_are_passed_over() {
        assert_eq!(events(": ping\n\nevent: x\ndata: a\nid: 1\n\n"), ["a"]);
    }

    #[test]
    fn data_lines_of_one_event_are_joined() {
        assert_eq!(events("data: a\ndata:b\n\n"), ["a\nb"]);
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_do_no_harm() {
        assert_eq!(events("\u{FEFF}data: a\r\n\r\ndata: b\r\n\r\n"), ["a", "b"]);
    }

    #[test]
    fn an_unterminated_last_event_counts() {
        assert_eq!(events("data: a\n\ndata: b"), ["a", "b"]);
    }
}
