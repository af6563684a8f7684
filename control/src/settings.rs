//! Settings: flag > environment `OFFHOOK_…` > `offhook.toml` > default; read once, checked once.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the database, recordings, journals and logs are.
    pub data_dir: PathBuf,
}

impl Settings {
    /// Defaults for a server on this machine that keeps its data under `data_dir`: for tests, benches and the demo.
    pub fn local(data_dir: PathBuf) -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data_dir }
    }
}
