//! What the walk has to be told of a system.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use hyper::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use super::inventory::{Endpoint, Inventory};
use super::shape::Shape;
use crate::http::{Ask, Client};
use crate::server::{Answer, PATIENCE, Server};

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A conversation over an open socket, which tells what is wrong.
pub type Talk = for<'a> fn(&'a Site<'a>, WebSocketStream<TcpStream>) -> Later<'a, Vec<String>>;

/// A system's peculiarities.
pub trait System: Sync {
    /// Its name, as in its inventory.
    fn name(&self) -> &'static str;

    /// Where it is mounted on the shared listener.
    fn bases(&self) -> &'static [&'static str];

    /// How a server is started for the walk.
    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>);

    /// Adds to a request what its endpoint wants to know its caller by.
    fn authorize(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials, ask: Ask) -> Ask;

    /// The status of a refusal for want of credentials; none where nobody is refused.
    fn refusal(&self, endpoint: &Endpoint) -> Option<u16>;

    /// What the limit's headers say of a request with these credentials; none if it is not counted.
    fn limit(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials) -> Option<u32>;

    /// The form of an error with this status.
    fn error_shape(&self, inventory: &Inventory, format: &str, _: u16) -> Shape {
        inventory.error_shape(format)
    }

    /// From here on an endpoint is asked by somebody whom limits have not counted yet. Where they count addresses, a new address
    /// is enough.
    fn someone_else<'a>(&'a self, _: &'a Site<'a>, _: &'a Endpoint) -> Later<'a, ()> {
        Box::pin(async {})
    }

    /// What is wrong with an error: its form is checked already.
    fn error_complaints(&self, inventory: &Inventory, status: u16, answer: &Answer) -> Vec<String>;

    /// The documented error for a required field that is absent, word for word.
    fn missing_complaints(&self, inventory: &Inventory, field: &str, answer: &Answer) -> Vec<String>;

    /// How an endpoint is asked.
    fn case(&self, id: &str) -> Option<Case>;
}

/// How one endpoint is asked. Paths are below the system's base; credentials are added by the walk.
#[derive(Clone, Copy)]
pub struct Case {
    /// Prepares what a good request needs, and makes it.
    pub good: for<'a> fn(&'a Site<'a>) -> Later<'a, Ask>,
    /// Requests that are refused, with the status, beside those that the walk makes from the inventory.
    pub bad: fn() -> Vec<(Ask, u16)>,
    /// The path of what does not exist, where an id is part of the path.
    pub unknown: Option<&'static str>,
    /// Looks at a good answer beyond its form.
    pub check: for<'a> fn(&'a Site<'a>, &'a Answer) -> Later<'a, Vec<String>>,
    /// True if a good request is good once: each that is asked is prepared anew.
    pub once: bool,
    /// True if nothing is required, so that no body is as good as one.
    pub may_be_empty: bool,
    /// Talks over the socket, and tells what is wrong. For sockets alone.
    pub talk: Option<Talk>,
}

impl Case {
    /// An endpoint that a GET of its path is enough for.
    pub const GET: Self = Self {
        good: |_| Box::pin(async { Ask::get("") }),
        bad: Vec::new,
        unknown: None,
        check: |_, _| Box::pin(async { Vec::new() }),
        once: false,
        may_be_empty: false,
        talk: None,
    };
}

/// What a server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Without secrets: what is open in development is open.
    Development,
    /// With all secrets: nobody unknown is let in.
    Production,
}

/// What a request is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// What the endpoint asks for.
    Right,
    /// Something that looks like it.
    Wrong,
    /// Nothing.
    None,
}

/// A system where it is mounted.
pub struct Site<'a> {
    /// The server.
    pub server: &'a Server,
    /// Where it listens.
    pub address: SocketAddr,
    /// The host that is asked for.
    pub host: String,
    /// The system's base.
    pub base: String,
    /// What the server was started for.
    pub world: World,
    /// What is served here.
    pub system: &'static dyn System,
    /// As it is documented.
    pub inventory: &'a Inventory,
}

impl Site<'_> {
    /// The URL of a path below the base.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.host, self.base)
    }

    /// Asks, from an address that nobody asked from before.
    pub async fn ask(&self, ask: Ask) -> Answer {
        self.ask_as(Client::new(), ask).await
    }

    /// Asks from an address.
    pub async fn ask_as(&self, client: Client, mut ask: Ask) -> Answer {
        ask.path.insert_str(0, &self.base);
        client.ask_of_host(self.address, &self.host, ask).await
    }

    /// Asks an endpoint of this system with the right credentials.
    pub async fn ask_for(&self, id: &str, ask: Ask) -> Answer {
        let endpoint = self.inventory.endpoint(id);
        let ask = if ask.path.is_empty() { Ask { path: endpoint.path.clone(), ..ask } } else { ask };
        self.ask(self.system.authorize(self, endpoint, Credentials::Right, ask)).await
    }

    /// Opens a socket; or gives the answer that there is none.
    pub async fn open(&self, mut ask: Ask) -> Result<(Answer, WebSocketStream<TcpStream>), Answer> {
        use tokio_tungstenite::tungstenite::{Error, handshake::client::generate_key};
        ask.path.insert_str(0, &self.base);
        let tcp = Client::new().connect(self.address).await.expect("the server listens");
        let mut request = hyper::Request::builder()
            .method(Method::GET)
            .uri(format!("ws://{}{}", self.host, ask.path))
            .header("host", &self.host)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let request = request.body(()).expect("tests ask for what can be asked");
        let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(request, tcp)).await;
        match opened.unwrap_or_else(|_| panic!("{}: no answer in time", ask.path)) {
            Ok((socket, response)) => {
                let (head, _) = response.into_parts();
                let answer =
                    Answer { status: head.status.as_u16(), headers: head.headers, body: Default::default() };
                Ok((answer, socket))
            }
            Err(Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let body = body.unwrap_or_default().into();
                Err(Answer { status: head.status.as_u16(), headers: head.headers, body })
            }
            Err(error) => panic!("{}: {error}", ask.path),
        }
    }
}

/// One complaint, unless `right`.
pub fn complaint(right: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if right { Vec::new() } else { vec![text()] }
}

/// A JSON value in a few words, for complaints.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
