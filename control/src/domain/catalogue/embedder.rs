//! Who turns texts into vectors, so that texts that mean the same are near to each other.

use futures_util::future::BoxFuture;

/// Vectors of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One for each text, in order: all as long as the first, each of length 1.
    pub vectors: Vec<Vec<f32>>,
    /// What was charged for, in tokens; 0 if it was not told.
    pub tokens: u64,
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EmbedError {
    /// Without secrets and without the texts.
    pub reason: String,
    /// Whether it may be different later.
    pub is_passing: bool,
}

/// Somebody who makes embeddings. Vectors of two models, or of one model in two sizes, have nothing to do with each other.
pub trait Embedder: Send + Sync {
    /// What makes the vectors: the same name means that they can be compared.
    fn model(&self) -> &str;

    /// The most texts that are taken at once.
    fn texts_max(&self) -> usize;

    /// The vectors of these texts, none of which is empty. Takes a time that has an end.
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>>;
}
