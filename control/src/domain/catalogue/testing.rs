//! A house of catalogues for tests: a store, two owners, and somebody who makes embeddings as a test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::domain::jobs::{Clock, Worker};
use crate::domain::users::GoogleIdentity;

pub(super) const PRODUCTS: &[u8] = include_bytes!("../../../../fixtures/catalogue/products.csv");

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Arc<Store>,
    pub(super) catalogues: Catalogues,
    pub(super) owner: String,
    pub(super) other: String,
    worker: Arc<Worker>,
    /// How far the worker's clock is ahead.
    ahead_ms: Arc<AtomicI64>,
}

/// How far it goes each time that the worker looks for jobs: all that is tried again later is due then.
const STEP_MS: i64 = 600_000;

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(None).await
    }

    pub(super) async fn with(embedder: Option<Arc<dyn Embedder>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let user = async |name: &str| {
            let identity = GoogleIdentity {
                sub: name.into(),
                email: format!("{name}@example.com"),
                name: None,
                picture: None,
            };
            store.sign_in(identity, UnixMs(1)).await.unwrap().id
        };
        let (owner, other) = (user("owner").await, user("other").await);
        let catalogues = Catalogues::new(store.clone(), dir.path(), embedder);
        let (worker, ahead_ms) = worker(&store, &catalogues);
        Self { dir, store, catalogues, owner, other, worker, ahead_ms }
    }

    /// The same data, as a process finds it that starts now.
    pub(super) async fn restarted(self, embedder: Option<Arc<dyn Embedder>>) -> Self {
        let Self { dir, store, catalogues, owner, other, worker: old, .. } = self;
        store.close();
        drop((catalogues, old));
        drop(store);
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let catalogues = Catalogues::new(store.clone(), dir.path(), embedder);
        catalogues.sweep().await.unwrap();
        let (worker, ahead_ms) = worker(&store, &catalogues);
        Self { dir, store, catalogues, owner, other, worker, ahead_ms }
    }

    /// Uploads a file, in pieces.
    pub(super) async fn upload(&self, name: &str, bytes: &[u8]) -> Result<Accepted, UploadError> {
        let mut receiving = self.catalogues.receive(name, None).await?;
        for piece in bytes.chunks(64 * 1024) {
            receiving.write(piece).await?;
        }
        self.catalogues.accept(&self.owner, receiving, None, UnixMs::now()).await
    }

    /// Begins the jobs that are due; they end with what is given.
    pub(super) async fn begin(&self) -> JoinSet<()> {
        self.ahead_ms.fetch_add(STEP_MS, Ordering::Relaxed);
        let mut running = JoinSet::new();
        self.worker.start_due(&mut running).await.unwrap();
        running
    }

    /// Does all jobs, again and again until none is due.
    pub(super) async fn work(&self) {
        loop {
            let running = self.begin().await;
            if running.is_empty() {
                return;
            }
            running.join_all().await;
        }
    }

    /// Does the jobs that are due, each once.
    pub(super) async fn work_once(&self) {
        self.begin().await.join_all().await;
    }

    /// Uploads a file that is taken, and imports it.
    pub(super) async fn import(&self, name: &str, bytes: &[u8]) -> Catalogue {
        let accepted = self.upload(name, bytes).await.unwrap();
        self.work().await;
        self.catalogues.import(&self.owner, &accepted.job).await.unwrap()
    }

    pub(super) async fn state_of(&self, accepted: &Accepted) -> Catalogue {
        self.catalogues.import(&self.owner, &accepted.job).await.unwrap()
    }

    pub(super) async fn search(&self, text: &str) -> Vec<Found> {
        self.search_as(&self.owner, text, None).await
    }

    pub(super) async fn search_as(&self, owner: &str, text: &str, catalogue: Option<&str>) -> Vec<Found> {
        let embed_within = std::time::Duration::from_secs(20);
        let question = Question { owner, text, catalogue, limit: 5, ways: Ways::Both, embed_within };
        self.catalogues.search(question).await.unwrap()
    }

    pub(super) async fn names(&self, search: Option<&str>) -> Vec<String> {
        let page = self.catalogues.products(&self.owner, search, None, 1, 50).await.unwrap();
        assert_eq!(page.products.len() as u32, page.total);
        page.products.into_iter().map(|product| product.product.name).collect()
    }

    /// Files that are kept.
    pub(super) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("catalogues"));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    /// How many rows a table has, and that the index is that of the chunks.
    pub(super) fn count(&self, table: &str) -> u32 {
        let connection = Connection::open(self.dir.path().join("offhook.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        connection
            .execute("INSERT INTO chunk_words (chunk_words, rank) VALUES ('integrity-check', 1)", [])
            .unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// That there are no products, no chunks, no vectors and no files.
    #[track_caller]
    pub(super) fn assert_nothing_is_left(&self) {
        for table in ["products", "chunks", "chunk_vectors"] {
            assert_eq!(self.count(table), 0, "{table}");
        }
        assert!(self.files().is_empty(), "{:?}", self.files());
    }
}

fn worker(store: &Arc<Store>, catalogues: &Catalogues) -> (Arc<Worker>, Arc<AtomicI64>) {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let ahead = ahead_ms.clone();
    let clock: Clock = Arc::new(move || UnixMs(UnixMs::now().0 + ahead.load(Ordering::Relaxed)));
    (Arc::new(Worker::new(store.clone(), vec![catalogues.work()], clock)), ahead_ms)
}

/// Makes embeddings in which texts with the same words are near, and some words mean the same.
#[derive(Default)]
pub(super) struct Meanings {
    /// What the next requests come to instead.
    pub(super) failures: Mutex<VecDeque<EmbedError>>,
    /// Texts that were embedded.
    pub(super) embedded: Mutex<Vec<String>>,
    /// If it is there: tells when a request has come, and then answers nothing.
    pub(super) stalls: Mutex<Option<Arc<Notify>>>,
    /// The model's name.
    pub(super) name: Option<String>,
}

const DIMENSIONS: usize = 64;
const SAME: [(&str, &str); 2] = [("jotter", "notebook"), ("rainproof", "water")];

impl Meanings {
    pub(super) fn failing(passing: &[bool]) -> Arc<Self> {
        let failure = |is_passing: &bool| EmbedError { reason: "no".into(), is_passing: *is_passing };
        Arc::new(Self { failures: Mutex::new(passing.iter().map(failure).collect()), ..Self::default() })
    }
}

fn meaning(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS];
    for word in words::words_of(text) {
        let word = SAME.iter().find(|(other, _)| *other == word).map_or(word.as_str(), |(_, same)| same);
        let hash = word.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        vector[hash % DIMENSIONS] += 1.0;
    }
    let length = vector.iter().map(|n| n * n).sum::<f32>().sqrt().max(1e-6);
    vector.iter().map(|n| n / length).collect()
}

impl Embedder for Meanings {
    fn model(&self) -> &str {
        self.name.as_deref().unwrap_or("meanings")
    }

    fn texts_max(&self) -> usize {
        2
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        async move {
            let stall = self.stalls.lock().unwrap().clone();
            if let Some(stall) = stall {
                stall.notify_one();
                std::future::pending::<()>().await;
            }
            if let Some(failure) = self.failures.lock().unwrap().pop_front() {
                return Err(failure);
            }
            let vectors = texts.iter().map(|text| meaning(text)).collect();
            self.embedded.lock().unwrap().extend(texts);
            Ok(Embedded { vectors, tokens: 0 })
        }
        .boxed()
    }
}
