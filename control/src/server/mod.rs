//! The HTTP server.

use std::net::SocketAddr;

use crate::settings::Settings;

/// A server that is listening, with its engine and its store.
pub struct Server {}

/// Why a server could not start. Displays as what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl Server {
    /// Opens the store, starts the engine and listens.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let _ = settings;
        Err(StartError("not built".into()))
    }

    /// Where it listens; with port 0 in the settings, the port that it was given.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Serves until it is told to stop (SIGINT or SIGTERM), then ends the calls and completes their records.
    pub async fn run(self) -> Result<(), StartError> {
        Ok(())
    }

    /// Ends all calls, completes their records, and closes the store.
    pub async fn shutdown(self) {}
}
