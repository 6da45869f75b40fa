//! What an HTTP/1 request line and status say, as far as they were kept.

use crate::write::{self, Writer};

/// A request of HTTP/1 and the answer's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// `GET`, `POST`, …; empty where only the status was seen.
    pub method: String,
    /// The path with its query, as far as it was kept. What is no UTF-8 is U+FFFD.
    pub path: String,
    /// There may be more of the path than was kept.
    pub cut: bool,
    /// 200, 404, …; 0 where none was seen.
    pub status: u16,
}

impl Http {
    /// Of the first bytes of a request, and the answer's status, 0 where there is none. `None` where neither is there.
    pub fn of(request: &[u8], status: u16) -> Option<Http> {
        if request.is_empty() && status == 0 {
            return None;
        }
        let line = request.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let method = words.next().unwrap_or_default();
        let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
        let path = words.next().filter(|_| is_method);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let http = Http {
            method: if path.is_some() { text(method) } else { String::new() },
            path: path.map(text).unwrap_or_default(),
            // what follows the path, or the line's end, tells that it is whole
            cut: path.is_some() && words.next().is_none() && line.len() == request.len(),
            status,
        };
        (path.is_some() || status > 0).then_some(http)
    }

    /// `GET /path 200`, without what is not known, and without what would move a terminal's cursor.
    pub fn line(&self) -> String {
        write::text(|w| self.write_line(w))
    }

    /// Appends what [`line`](Http::line) gives.
    pub(crate) fn write_line(&self, w: &mut Writer<'_>) {
        if !self.method.is_empty() {
            w.text(&self.method);
            w.letter(' ');
            w.shown(&self.path);
            if self.cut {
                w.text("…");
            }
        }
        if self.status > 0 {
            if !self.method.is_empty() {
                w.letter(' ');
            }
            w.number(self.status.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, status: u16, expected: Option<&str>) {
        let http = Http::of(request.as_bytes(), status);
        assert_eq!(http.as_ref().map(Http::line).as_deref(), expected, "{http:?}");
    }

    #[test]
    fn method_path_and_status() {
        check("GET /a?b=c HTTP/1.1\r\nHost: x", 200, Some("GET /a?b=c 200"));
        check("POST /a HTTP", 0, Some("POST /a"));
        check("GET /long/pa", 404, Some("GET /long/pa… 404"));
        // HTTP 0.9
        check("GET /a\r\n", 0, Some("GET /a"));
        check("", 500, Some("500"));
        check("", 0, None);
        check("\x16\x03\x01 x", 0, None);
        check("get /a HTTP/1.1", 0, None);
        check("GET /\x1b[2J HTTP/1.1\r\n", 0, Some("GET /\u{fffd}[2J"));
    }
}
