//! `GET /metrics`, as Prometheus asks for it: one request after the other, each short.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tcprt::prometheus::Metrics;

/// What is counted, and told to whoever asks.
pub(crate) type Shared = Arc<Mutex<Metrics>>;

/// Bytes of a request that are read at most, and how long that may take.
const REQUEST: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers from now on, in a thread of its own that ends with the process.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn serve(address: &str, metrics: Shared) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind(address).with_context(|| format!("--prometheus {address}"))?;
    let bound = listener.local_addr().context("--prometheus")?;
    let answers = move || {
        for stream in listener.incoming() {
            match stream {
                // whoever goes away before the answer does not matter
                Ok(stream) => drop(answer(stream, &metrics)),
                // no more files, as a rule
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    std::thread::Builder::new().name("metrics".to_owned()).stack_size(128 << 10).spawn(answers).context("a thread")?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, metrics: &Shared) -> std::io::Result<()> {
    let end = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") && request.len() < REQUEST {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes)? {
            0 => break,
            read => request.extend(&bytes[..read]),
        }
    }
    let line = request.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => {
            let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics.exposition())
        }
        ("GET" | "HEAD", "/") => ("200 OK", plain, "tcprt: /metrics\n".to_owned()),
        ("GET" | "HEAD", _) => ("404 Not Found", plain, "there is only /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", plain, "only GET and HEAD\n".to_owned()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_are_served_and_nothing_else() {
        let metrics = Shared::default();
        metrics.lock().unwrap().lost = 7;
        let address = serve("127.0.0.1:0", Arc::clone(&metrics)).unwrap();
        let answer = ask(address, "GET /metrics?x=y HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\ntcprt_lost_events_total 7\n"),
            "{answer}"
        );
        assert!(answer.contains("Content-Type: text/plain; version=0.0.4"));
        assert!(ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        assert!(ask(address, "GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask(address, "\u{1}rubbish").starts_with("HTTP/1.1 405"));
        // who says nothing, and goes, does not keep others waiting
        drop(TcpStream::connect(address).unwrap());
        assert!(ask(address, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn an_address_that_is_taken_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = serve(&address, Shared::default()).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("--prometheus {address}: ")), "{error:#}");
    }
}
