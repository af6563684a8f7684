//! Catalogues of products, and answers from them.
//!
//! ```text
//! upload ─► a file of ours (bounded, checked) ─► catalogue + job, in one transaction ─► import ─► products ─► chunks ─► embeddings
//!                                                                                                    │
//!                                            question ─► words (BM25) and embedding (cosine) ─► fused ┘─► chunks to cite
//! ```
//!
//! Chunks are always found by their words. Where somebody makes embeddings ([`Embedder`]), they are found by what they mean
//! as well.
//!
//! All of it belongs to an owner; what is somebody else's is not found. Until its chunks are whole, a catalogue is not shown;
//! if its import fails or is cancelled, nothing is left of it but that. Files are kept under a name of ours, in
//! `catalogues/` in the data folder, and only as long as they are needed.

mod chunks;
mod csv;
mod embedder;
mod error;
mod import;
mod pdf;
mod search;
mod sniff;
mod state;
mod text;
mod upload;
mod values;
mod vectors;
mod words;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::error::Error;
use super::jobs::Work;
use super::time::UnixMs;
use crate::store::{Store, StoreError};

pub use chunks::{CHUNK_CHARACTERS, OVERLAP_CHARACTERS};
pub use csv::{ProductRow, ROWS_MAX};
pub use embedder::{EmbedError, Embedded, Embedder};
pub use error::{LineError, TOLD_MAX, Unreadable, UploadError};
pub use search::{Basis, Found, Question, Ways};
pub use sniff::{Kind, safe_name};
pub use state::{Catalogue, Embeddings, Stage, State};
pub use upload::{Accepted, FILE_BYTES_MAX, Receiving};

use import::Import;
use vectors::VectorCache;

/// The kind of the jobs that import catalogues.
pub const IMPORT: &str = "products";

/// A catalogue that is about to be imported.
#[derive(Clone, Debug)]
pub struct NewCatalogue {
    /// `catalog_…`.
    pub id: String,
    /// Whose: a user's id.
    pub owner: String,
    /// What they call it.
    pub name: String,
    /// What the import is called: `job_products_…`.
    pub job: String,
    /// What the file was called, without folders.
    pub file_name: String,
    /// What the file is.
    pub kind: Kind,
    /// How large it is.
    pub file_bytes: u64,
    /// Whether embeddings are to be made.
    pub embeds: bool,
    /// When the file was accepted.
    pub at: UnixMs,
}

/// A product.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// `prod_…`.
    pub id: String,
    /// The id of its catalogue.
    pub catalogue: String,
    /// What its catalogue says of it.
    pub product: ProductRow,
    /// How many chunks it has.
    pub chunks: u32,
    /// Where its embeddings stand.
    pub embeddings: Embeddings,
    /// When it was imported.
    pub created: UnixMs,
}

/// A piece of what is said of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, which no other chunk ever has.
    pub id: i64,
    /// Its place in the product, from 0.
    pub position: u32,
    /// What it says.
    pub content: String,
}

/// Which products are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductQuery {
    /// All of these words are in one of their chunks. None: any products.
    pub words: Option<Vec<String>>,
    /// They are of this catalogue.
    pub catalogue: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// So many before them are passed over.
    pub offset: u64,
}

/// A page of products.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Products {
    /// Those of the page.
    pub products: Vec<Product>,
    /// How many there are on all pages.
    pub total: u32,
}

/// A chunk that was found, as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The chunk's number.
    pub chunk: i64,
    /// Its place in the product, from 0.
    pub position: u32,
    /// What it says.
    pub content: String,
    /// The id of its product.
    pub product: String,
    /// What its product is called.
    pub product_name: String,
    /// The id of its catalogue.
    pub catalogue: String,
    /// Its embedding, if the model that was asked for made it: little-endian 32-bit floats.
    pub vector: Option<Vec<u8>>,
}

/// All catalogues.
#[derive(Clone)]
pub struct Catalogues(Arc<House>);

/// What uploads, imports and searches share.
struct House {
    store: Arc<Store>,
    /// Where files are kept.
    folder: PathBuf,
    embedder: Option<Arc<dyn Embedder>>,
    vectors: VectorCache,
    /// Uploads that are looked at, and files that are imported: each takes a core and some memory.
    checks: Semaphore,
    readings: Semaphore,
}

/// Behind the name of a PDF's file: the file with its text.
const TEXT_SUFFIX: &str = ".text";

/// How many files are looked at, and how many are read, at once, whoever uploaded them.
const AT_ONCE: usize = 2;

impl std::fmt::Debug for Catalogues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Catalogues").field(&self.0.folder).finish()
    }
}

impl Catalogues {
    /// Catalogues whose files are kept in this data folder. `embedder`: who makes embeddings, if anybody does.
    pub fn new(store: Arc<Store>, data_dir: &Path, embedder: Option<Arc<dyn Embedder>>) -> Self {
        Self(Arc::new(House {
            store,
            folder: data_dir.join("catalogues"),
            embedder,
            vectors: VectorCache::default(),
            checks: Semaphore::new(AT_ONCE),
            readings: Semaphore::new(AT_ONCE),
        }))
    }

    /// What does the jobs of the kind [`IMPORT`].
    pub fn work(&self) -> Arc<dyn Work> {
        Arc::new(Import(self.0.clone()))
    }

    /// Removes what a dead process left: files that nobody needs, and rows of imports that are over. To be called once, before
    /// anything is uploaded.
    pub async fn sweep(&self) -> Result<(), Error> {
        let House { store, folder, .. } = &*self.0;
        let needed: HashSet<String> = store.catalogues_in_work().await?.into_iter().collect();
        if let Ok(mut entries) = tokio::fs::read_dir(folder).await {
            while let Ok(Some(entry)) = entries.next_entry().await {
                let name = entry.file_name();
                let id = name.to_str().map(|name| name.strip_suffix(TEXT_SUFFIX).unwrap_or(name));
                if !id.is_some_and(|id| needed.contains(id)) {
                    remove_file(&entry.path()).await;
                }
            }
        }
        for catalogue in store.catalogues_to_remove().await? {
            self.0.remove_rows(catalogue).await?;
        }
        for product in store.products_to_remove().await? {
            while store.remove_some_of_product(product).await? {}
        }
        Ok(())
    }

    /// An import, by its job's name.
    pub async fn import(&self, owner: &str, job: &str) -> Result<Catalogue, Error> {
        self.0.store.catalogue_of_job(owner, job).await
    }

    /// Ends an import, wherever it is. When this returns, nothing is left of what it wrote. A conflict if it is over.
    pub async fn cancel(&self, owner: &str, job: &str, now: UnixMs) -> Result<Catalogue, Error> {
        let cancelled = self.0.store.cancel_import(owner, job, now).await?;
        self.0.clear(&cancelled).await?;
        Ok(cancelled)
    }

    /// A page of an owner's products. `search`: words that all are in one chunk of each, the last of them perhaps not whole; the
    /// best come first then. `page`: from 1. `catalogue`: of that one only; there are none in somebody else's.
    pub async fn products(
        &self,
        owner: &str,
        search: Option<&str>,
        catalogue: Option<&str>,
        page: u32,
        limit: u32,
    ) -> Result<Products, StoreError> {
        let query = ProductQuery {
            words: search.filter(|text| !text.trim().is_empty()).map(words::words_of),
            catalogue: catalogue.map(str::to_owned),
            limit,
            offset: u64::from(page.saturating_sub(1)) * u64::from(limit),
        };
        self.0.store.products(owner, query).await
    }

    /// A product with its chunks, the first five hundred if there are more.
    pub async fn product(&self, owner: &str, id: &str) -> Result<(Product, Vec<Chunk>), Error> {
        self.0.store.product(owner, id).await
    }

    /// Deletes a product, and says how many chunks it had.
    pub async fn remove_product(&self, owner: &str, id: &str) -> Result<u32, Error> {
        let House { store, vectors, .. } = &*self.0;
        let (number, chunks) = store.hide_product(owner, id).await?;
        vectors.forget(owner);
        while store.remove_some_of_product(number).await? {}
        Ok(chunks)
    }
}

impl House {
    /// Where the file of a catalogue is.
    fn file(&self, catalogue: &str) -> PathBuf {
        self.folder.join(catalogue)
    }

    /// Where the text of a PDF is kept while it is imported.
    fn text_file(&self, catalogue: &str) -> PathBuf {
        self.folder.join(format!("{catalogue}{TEXT_SUFFIX}"))
    }

    /// Removes what an import wrote that failed or was cancelled.
    async fn clear(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        self.vectors.forget(&catalogue.owner);
        self.remove_files(catalogue).await;
        self.remove_rows(catalogue.number).await
    }

    async fn remove_rows(&self, catalogue: i64) -> Result<(), StoreError> {
        while self.store.remove_some(catalogue).await? {}
        Ok(())
    }

    async fn remove_files(&self, catalogue: &Catalogue) {
        remove_file(&self.file(&catalogue.id)).await;
        remove_file(&self.text_file(&catalogue.id)).await;
    }
}

async fn remove_file(path: &Path) {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %path.display(), "a file of a catalogue cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
