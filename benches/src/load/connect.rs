//! How a caller gets its socket: as a carrier does, by the webhook; or straight, to the floor.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Type};
use tokio_tungstenite::tungstenite::client;

use super::Error;

/// Whom to call.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The floor, on a port of this machine.
    Floor(u16),
    /// Offhook, on a port of this machine.
    Offhook(u16),
}

/// A media socket after its handshake.
pub(super) struct Connected {
    pub(super) socket: TcpStream,
    /// What the webhook's answer wants said in the `start` message.
    pub(super) token: Option<String>,
    /// The call's name.
    pub(super) call: String,
}

impl Target {
    pub(super) fn connect(self, number: usize) -> Result<Connected, Error> {
        self.connect_holding(number, None)
    }

    /// The same, where the system holds no more than some `receive_bytes` of what the caller has not read.
    pub(super) fn connect_holding(
        self,
        number: usize,
        receive_bytes: Option<usize>,
    ) -> Result<Connected, Error> {
        let call = format!("CA{:032x}", number + 1);
        let (url, token) = match self {
            Self::Floor(port) => (format!("ws://127.0.0.1:{port}/"), None),
            Self::Offhook(port) => announce(port, &call)?,
        };
        let host = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let address: SocketAddr = host.parse().map_err(|e| format!("{url}: {e}"))?;
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            // Before the connection: how far its window can be scaled is agreed on with it.
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&address.into())?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Neither server speaks before it is spoken to, so nothing is lost in the client's buffer.
        let (client, _) = client(&url, socket.try_clone()?).map_err(|e| format!("{url}: {e}"))?;
        drop(client);
        socket.set_nonblocking(true)?;
        Ok(Connected { socket, token, call })
    }
}

/// Posts the webhook; where to stream to, and with which token.
fn announce(port: u16, call: &str) -> Result<(String, Option<String>), Error> {
    let form = format!("CallSid={call}&AccountSid=AC1&From=%2B15550100&To=%2B15550101&CallStatus=ringing");
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        socket,
        "POST /api/callbot/incoming-call HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let between = |from: &str, to: &str| {
        let (_, rest) = answer.split_once(from)?;
        Some(rest.split_once(to)?.0.replace("&amp;", "&"))
    };
    let url = between("<Stream url=\"", "\"").ok_or_else(|| format!("the webhook answered: {answer}"))?;
    Ok((url, between("name=\"token\" value=\"", "\"")))
}
