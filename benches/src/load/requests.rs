//! Requests over kept connections, by hand: clients that cost next to nothing beside the server that they ask.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Error, Times};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status line and the headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The status; 0 if that is no number.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A connection to a server on this machine.
pub fn connect(port: u16) -> Result<TcpStream, Error> {
    let socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

/// A request with its head, on its way as bytes.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Sends a request and reads its answer to the end, or fails if the connection cannot be used again.
pub fn ask(socket: &mut TcpStream, request: &[u8]) -> std::io::Result<Answer> {
    socket.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let n = socket.read(&mut part)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..n]);
        if let Some((head, length)) = lengths(&answer)
            && answer.len() >= head + length
        {
            let body = answer.split_off(head);
            return Ok(Answer { head: String::from_utf8_lossy(&answer).into_owned(), body });
        }
    }
}

/// How long an answer's head and its body are, once the head has come; only one of known length can be read to its end.
fn lengths(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&answer[..end]);
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    Some((end + 4, body.unwrap_or(0)))
}

/// One kind of request: what a reader calls it, and the bytes of the one of this number.
pub struct Kind<'a> {
    /// What a reader calls it.
    pub name: &'static str,
    /// The request of this number, which is no other's.
    pub make: Box<dyn Fn(usize) -> Vec<u8> + Sync + 'a>,
}

/// How long the answers to one kind of request took, and how many were none that succeeded.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// From the first byte sent to the last byte read.
    pub times: Times,
    /// Answers other than 2xx.
    pub failed: usize,
}

/// Asks in turn, over so many connections, each as soon as it has its answer, from the moment when `begun` is set until `over`
/// is. What each kind came to, in their order.
pub fn ask_in_turn(
    port: u16,
    connections: usize,
    kinds: &[Kind<'_>],
    begun: &AtomicBool,
    over: &AtomicBool,
) -> Result<Vec<Asked>, Error> {
    let one = |client: usize| {
        let mut socket = connect(port)?;
        let mut asked = vec![Asked::default(); kinds.len()];
        while !begun.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut number = client;
        while !over.load(Ordering::Relaxed) {
            let at = (number / connections + client) % kinds.len();
            let bytes = (kinds[at].make)(number);
            let began = Instant::now();
            let answer = ask(&mut socket, &bytes)?;
            asked[at].times.add(began.elapsed());
            asked[at].failed += usize::from(!(200..300).contains(&answer.status()));
            number += connections;
        }
        Ok::<_, Error>(asked)
    };
    let by_client: Vec<Vec<Asked>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections).map(|client| scope.spawn(move || one(client))).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())))
            .collect::<Result<_, _>>()
    })?;
    let mut all = vec![Asked::default(); kinds.len()];
    for asked in by_client {
        for (all, one) in all.iter_mut().zip(asked) {
            all.times.append(one.times);
            all.failed += one.failed;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_the_end_that_its_head_names() {
        assert_eq!(lengths(b"HTTP/1.1 200 OK\r\ncontent-le"), None);
        assert_eq!(lengths(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), Some((38, 5)));
        assert_eq!(lengths(b"HTTP/1.1 204 No Content\r\n\r\n"), Some((27, 0)));
    }

    #[test]
    fn an_answer_tells_its_status_and_its_headers() {
        let answer =
            Answer { head: "HTTP/1.1 302 Found\r\nLocation: http://x/?a=b\r\n\r\n".into(), body: vec![] };
        assert_eq!((answer.status(), answer.header("location")), (302, Some("http://x/?a=b")));
        assert_eq!(Answer { head: String::new(), body: vec![] }.status(), 0);
    }
}
