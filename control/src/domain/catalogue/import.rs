//! The import of a catalogue: products out of the file, chunks out of the products, embeddings of the chunks.
//!
//! Each stage writes in steps, and notes in the same transaction how far it is: an import that is begun again goes on there. What
//! it writes, it writes only as long as it is wanted, so it may be cancelled at any point.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use serde_json::{Map, json};
use tokio::sync::mpsc;

use super::chunks::{Chunker, chunks_of};
use super::csv::{RowError, Rows};
use super::pdf::{self, PdfError};
use super::sniff::Kind;
use super::text::Decoded;
use super::{Catalogue, Embeddings, House, IMPORT, ProductRow, Stage, State, values, vectors};
use crate::domain::jobs::{Job, Outcome, Policy, Work};
use crate::domain::time::UnixMs;
use crate::store::{NewChunks, StoreError};

/// Products or chunks that are written at once: some ten milliseconds of the thread that also writes calls down.
const WRITTEN_AT_ONCE: usize = 100;
/// Requests for embeddings that are on their way at once.
const EMBEDDED_AT_ONCE: usize = 4;
/// Characters of a document that describe it.
const DESCRIPTION_CHARACTERS: usize = 200;

/// Imports catalogues.
pub(super) struct Import(pub(super) Arc<House>);

/// Why an import does not go on.
enum Stop {
    /// Its owner does not want it any more, or it is over.
    Unwanted,
    /// Something failed that may work later.
    Later(String),
    /// It fails each time.
    Never(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Never("the file is gone".into()),
            io::ErrorKind::InvalidData => Self::Never(error.to_string()),
            _ => Self::Later(format!("the file cannot be read: {error}")),
        }
    }
}

/// True, or the import is not wanted any more.
fn wanted(is_wanted: bool) -> Result<(), Stop> {
    if is_wanted { Ok(()) } else { Err(Stop::Unwanted) }
}

impl Work for Import {
    fn kind(&self) -> &'static str {
        IMPORT
    }

    fn policy(&self) -> Policy {
        // What fails for a while is who makes embeddings: minutes, mostly.
        Policy {
            base: Duration::from_secs(5),
            factor: 2.0,
            cap: Duration::from_secs(300),
            tries_max: Some(10),
            give_up_after: Duration::from_secs(6 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            match self.import(&job.key).await {
                Ok(()) => Outcome::Done,
                Err(Stop::Unwanted) => self.clear_up(&job.key).await,
                Err(Stop::Later(reason)) => Outcome::Later { reason, after: None, holds_lane: false },
                Err(Stop::Never(reason)) => Outcome::Dead { reason },
            }
        }
        .boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.end(&job.key, reason).await {
                tracing::warn!(%error, catalogue = job.key, "the end of an import cannot be written down");
            }
        }
        .boxed()
    }
}

impl Import {
    /// An import that is over, however that came about, leaves no rows and no files but what is shown.
    async fn clear_up(&self, id: &str) -> Outcome {
        let cleared = async {
            // None: its owner is gone.
            let Some(catalogue) = self.0.store.catalogue(id).await? else { return Ok(()) };
            match catalogue.state {
                State::Failed | State::Cancelled => self.0.clear(&catalogue).await?,
                State::Completed => self.0.remove_files(&catalogue).await,
                State::Pending | State::Processing => {}
            }
            Ok::<(), StoreError>(())
        };
        match cleared.await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Later { reason: error.to_string(), after: None, holds_lane: false },
        }
    }

    /// Ends an import that was given up. What is found already stays.
    async fn end(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        let Some(catalogue) = self.0.store.catalogue(id).await? else { return Ok(()) };
        if catalogue.state == State::Completed {
            self.0.remove_files(&catalogue).await;
            return Ok(());
        }
        if catalogue.stage == Stage::Embedding && !catalogue.state.is_over() {
            self.0.store.complete_import(catalogue.number, Embeddings::Failed, UnixMs::now()).await?;
            self.0.vectors.forget(&catalogue.owner);
            self.0.remove_files(&catalogue).await;
            return Ok(());
        }
        self.0.store.fail_import(catalogue.number, reason.to_owned(), UnixMs::now()).await?;
        self.0.clear(&catalogue).await
    }

    async fn import(&self, id: &str) -> Result<(), Stop> {
        let store = &self.0.store;
        let mut catalogue = store.catalogue(id).await?.ok_or(Stop::Unwanted)?;
        if catalogue.state.is_over() {
            return Err(Stop::Unwanted);
        }
        let embeds = catalogue.embeddings == Embeddings::Pending;
        loop {
            let (stage, now) = (catalogue.stage, UnixMs::now());
            if catalogue.state == State::Pending {
                wanted(store.begin_stage(catalogue.number, stage, 0, now).await?)?;
                catalogue.state = State::Processing;
            }
            let next = match stage {
                Stage::Parsing => {
                    self.parse(&catalogue).await?;
                    Stage::Chunking
                }
                Stage::Chunking => {
                    self.chunk(&mut catalogue).await?;
                    if !embeds {
                        wanted(
                            store.complete_import(catalogue.number, Embeddings::Off, UnixMs::now()).await?,
                        )?;
                        break;
                    }
                    Stage::Embedding
                }
                Stage::Embedding => {
                    let embeddings = self.embed(&catalogue).await?;
                    wanted(store.complete_import(catalogue.number, embeddings, UnixMs::now()).await?)?;
                    break;
                }
            };
            let progress = next.share(embeds).0;
            wanted(store.begin_stage(catalogue.number, next, progress, UnixMs::now()).await?)?;
            catalogue = store.catalogue(id).await?.ok_or(Stop::Unwanted)?;
        }
        self.0.vectors.forget(&catalogue.owner);
        self.0.remove_files(&catalogue).await;
        Ok(())
    }

    async fn parse(&self, catalogue: &Catalogue) -> Result<(), Stop> {
        match catalogue.kind {
            Kind::Csv => self.parse_csv(catalogue).await,
            // Written in one step, so it is there or not.
            Kind::Pdf | Kind::Text if catalogue.products > 0 => Ok(()),
            Kind::Pdf => {
                let pages = self.extract(catalogue).await?;
                self.add_document(catalogue, self.0.text_file(&catalogue.id), Some(pages)).await
            }
            Kind::Text => self.add_document(catalogue, self.0.file(&catalogue.id), None).await,
        }
    }

    async fn parse_csv(&self, catalogue: &Catalogue) -> Result<(), Stop> {
        let embeds = catalogue.embeddings == Embeddings::Pending;
        let (path, known) = (self.0.file(&catalogue.id), catalogue.products as usize);
        let mut next_row = known as i64 + 1;
        let mut steps = self.0.reading(move |give| {
            let mut rows = Rows::open(&path).map_err(of_row)?;
            let mut step = Vec::with_capacity(WRITTEN_AT_ONCE);
            let mut skipped = 0;
            while let Some(row) = rows.next() {
                let row = row.map_err(of_row)?;
                if skipped < known {
                    skipped += 1;
                    continue;
                }
                step.push(row);
                if step.len() == WRITTEN_AT_ONCE && !give((std::mem::take(&mut step), rows.bytes_read())) {
                    return Ok(());
                }
            }
            if !step.is_empty() {
                give((step, u64::MAX));
            }
            Ok(())
        });
        while let Some((products, read)) = steps.next().await? {
            let progress = Stage::Parsing.progress(embeds, read, catalogue.file_bytes);
            let (row, now) = (next_row, UnixMs::now());
            next_row += products.len() as i64;
            wanted(self.0.store.add_products(catalogue.number, row, products, progress, now).await?)?;
        }
        Ok(())
    }

    /// Has the text of a PDF written to a file. Gives its pages.
    async fn extract(&self, catalogue: &Catalogue) -> Result<usize, Stop> {
        let (path, into) = (self.0.file(&catalogue.id), self.0.text_file(&catalogue.id));
        let stop = Arc::new(AtomicBool::new(false));
        let _stops = StopsWhenDropped(stop.clone());
        let _reading = self.0.readings.acquire().await.map_err(|_| Stop::Later("it is closing".into()))?;
        let mut extracting = tokio::task::spawn_blocking(move || pdf::extract(&path, &into, &stop));
        let begun = std::time::Instant::now();
        let mut look = tokio::time::interval(Duration::from_secs(1));
        let extracted = loop {
            tokio::select! {
                extracted = &mut extracting => break extracted,
                _ = look.tick() => {
                    let now = self.0.store.catalogue(&catalogue.id).await?;
                    wanted(now.is_some_and(|now| !now.state.is_over()))?;
                    // The reader looks at the clock between pages, and may never come that far.
                    if begun.elapsed() > pdf::TIME_MAX * 2 {
                        return Err(Stop::Never("the PDF takes too long to read".into()));
                    }
                }
            }
        };
        match extracted {
            Ok(Ok(pages)) => Ok(pages),
            Ok(Err(PdfError::Io(error))) => Err(error.into()),
            Ok(Err(PdfError::Stopped)) => Err(Stop::Later("it was stopped".into())),
            Ok(Err(error)) => Err(Stop::Never(error.to_string())),
            Err(error) => Err(Stop::Later(error.to_string())),
        }
    }

    /// Makes a document one product.
    async fn add_document(
        &self,
        catalogue: &Catalogue,
        text: PathBuf,
        pages: Option<usize>,
    ) -> Result<(), Stop> {
        let described = tokio::task::spawn_blocking(move || description(text)).await;
        let description = described.map_err(|error| Stop::Later(error.to_string()))??;
        if description.is_empty() {
            return Err(Stop::Never(PdfError::NoText.to_string()));
        }
        let mut metadata = Map::from_iter([("file_name".to_owned(), json!(catalogue.file_name))]);
        metadata.extend(pages.map(|pages| ("pages".to_owned(), json!(pages))));
        let product = ProductRow {
            name: catalogue.name.clone(),
            description,
            price: None,
            currency: values::CURRENCY.to_owned(),
            sku: None,
            category: None,
            in_stock: true,
            metadata,
        };
        let embeds = catalogue.embeddings == Embeddings::Pending;
        let (progress, now) = (Stage::Parsing.share(embeds).1, UnixMs::now());
        wanted(self.0.store.add_products(catalogue.number, 1, vec![product], progress, now).await?)
    }

    async fn chunk(&self, catalogue: &mut Catalogue) -> Result<(), Stop> {
        match catalogue.kind {
            Kind::Csv => self.chunk_products(catalogue).await,
            Kind::Pdf => self.chunk_document(catalogue, self.0.text_file(&catalogue.id)).await,
            Kind::Text => self.chunk_document(catalogue, self.0.file(&catalogue.id)).await,
        }
    }

    async fn chunk_products(&self, catalogue: &mut Catalogue) -> Result<(), Stop> {
        let embeds = catalogue.embeddings == Embeddings::Pending;
        loop {
            let products = self.0.store.products_to_chunk(catalogue, WRITTEN_AT_ONCE as u32).await?;
            if products.is_empty() {
                return Ok(());
            }
            let (mut chunks, mut count) = (Vec::new(), 0);
            for product in products {
                let texts = chunks_of(&text_of(&product.product), &product.product.name);
                count += texts.len();
                catalogue.chunked_row = product.row;
                chunks.push(NewChunks { product: product.number, position: 0, texts });
                if count >= WRITTEN_AT_ONCE {
                    break;
                }
            }
            let (row, now) = (catalogue.chunked_row, UnixMs::now());
            let progress = Stage::Chunking.progress(embeds, row.unsigned_abs(), catalogue.products.into());
            let added =
                self.0.store.add_chunks(catalogue.number, &catalogue.owner, chunks, row, progress, now);
            wanted(added.await?)?;
        }
    }

    async fn chunk_document(&self, catalogue: &Catalogue, text: PathBuf) -> Result<(), Stop> {
        let embeds = catalogue.embeddings == Embeddings::Pending;
        let document = self.0.store.products_to_chunk(catalogue, 1).await?;
        let Some(document) = document.into_iter().next() else { return Ok(()) };
        let mut position = document.chunks;
        let known = usize::try_from(position).unwrap_or(usize::MAX);
        let mut steps = self.0.reading(move |give| {
            let all = std::fs::metadata(&text)?.len();
            let (mut decoded, mut chunker, mut read) = (Decoded::open(&text)?, Chunker::default(), 0);
            let (mut step, mut skipped) = (Vec::new(), 0);
            let mut skip = |step: &mut Vec<String>| {
                let skips = step.len().min(known - skipped);
                step.drain(..skips);
                skipped += skips;
            };
            while let Some(piece) = decoded.piece()? {
                read += piece.len() as u64;
                chunker.push(piece, &mut step);
                skip(&mut step);
                if !step.is_empty() && !give((std::mem::take(&mut step), read, all)) {
                    return Ok(());
                }
            }
            chunker.finish(&mut step);
            skip(&mut step);
            give((step, all, all));
            Ok(())
        });
        while let Some((mut texts, read, all)) = steps.next().await? {
            let progress = Stage::Chunking.progress(embeds, read, all);
            while !texts.is_empty() {
                let rest = texts.split_off(texts.len().min(WRITTEN_AT_ONCE));
                let chunks = vec![NewChunks { product: document.number, position, texts }];
                position += chunks[0].texts.len() as u32;
                texts = rest;
                let row = catalogue.chunked_row;
                let added = self.0.store.add_chunks(
                    catalogue.number,
                    &catalogue.owner,
                    chunks,
                    row,
                    progress,
                    UnixMs::now(),
                );
                wanted(added.await?)?;
            }
        }
        let (row, progress) = (document.row, Stage::Chunking.share(embeds).1);
        let ended = self.0.store.add_chunks(
            catalogue.number,
            &catalogue.owner,
            Vec::new(),
            row,
            progress,
            UnixMs::now(),
        );
        wanted(ended.await?)
    }

    async fn embed(&self, catalogue: &Catalogue) -> Result<Embeddings, Stop> {
        let Some(embedder) = &self.0.embedder else { return Ok(Embeddings::Off) };
        let store = &self.0.store;
        let (model, at_once) = (embedder.model().to_owned(), embedder.texts_max().max(1));
        // Vectors of another model are of no use: all are made anew.
        let is_same = catalogue.embedding_model.as_deref() == Some(&model);
        let mut after = if is_same { catalogue.embedded_chunk } else { 0 };
        let mut dimensions = catalogue.embedding_dimensions.filter(|_| is_same);
        let (mut done, all) = store.chunks_up_to(catalogue.number, after).await?;
        loop {
            let most = u32::try_from(at_once * EMBEDDED_AT_ONCE).unwrap_or(u32::MAX);
            let chunks = store.chunks_to_embed(catalogue.number, after, most).await?;
            let Some((last, _)) = chunks.last() else { return Ok(Embeddings::Completed) };
            after = *last;
            done += chunks.len() as u32;
            let requests = chunks
                .chunks(at_once)
                .map(|chunks| embedder.embed(chunks.iter().map(|(_, text)| text.clone()).collect()));
            let embedded = match try_join_all(requests).await {
                Ok(embedded) => embedded,
                Err(error) if error.is_passing => return Err(Stop::Later(error.reason)),
                Err(error) => return Ok(no_embeddings(catalogue, &error.reason)),
            };
            let vectors: Vec<Vec<f32>> = embedded.into_iter().flat_map(|embedded| embedded.vectors).collect();
            let length = *dimensions.get_or_insert(vectors.first().map_or(0, Vec::len) as u32);
            if vectors.len() != chunks.len() || vectors.iter().any(|vector| vector.len() != length as usize) {
                return Ok(no_embeddings(catalogue, "its vectors are not all of one length"));
            }
            let vectors =
                chunks.iter().zip(&vectors).map(|((chunk, _), vector)| (*chunk, vectors::bytes_of(vector)));
            let progress = Stage::Embedding.progress(true, done.into(), all.into());
            let (vectors, now) = (vectors.collect(), UnixMs::now());
            wanted(
                store.add_vectors(catalogue.number, model.clone(), length, vectors, progress, now).await?,
            )?;
        }
    }
}

fn no_embeddings(catalogue: &Catalogue, reason: &str) -> Embeddings {
    tracing::warn!(
        catalogue = catalogue.id,
        reason,
        "a catalogue has no embeddings, and is searched by words"
    );
    Embeddings::Failed
}

struct StopsWhenDropped(Arc<AtomicBool>);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is read of a file, step by step.
struct Steps<T>(mpsc::Receiver<Result<Option<T>, Stop>>);

impl<T> Steps<T> {
    /// The next step; none at the end of the file.
    async fn next(&mut self) -> Result<Option<T>, Stop> {
        let broken_off = || Err(Stop::Later("the reading of the file broke off".into()));
        self.0.recv().await.unwrap_or_else(broken_off)
    }
}

impl House {
    /// Reads a file on a thread that may wait. `read` is given what takes its steps, and says whether anybody does.
    fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&dyn Fn(T) -> bool) -> Result<(), Stop> + Send + 'static,
    ) -> Steps<T> {
        let (give, taken) = mpsc::channel(2);
        let house = self.clone();
        tokio::spawn(async move {
            // Closed only with the house, which this holds.
            let _turn = house.readings.acquire().await;
            let reading = tokio::task::spawn_blocking(move || {
                let ended = read(&|step| give.blocking_send(Ok(Some(step))).is_ok());
                // Nobody takes it if the import is not wanted any more.
                let _ = give.blocking_send(ended.map(|()| None));
            });
            if let Err(error) = reading.await {
                tracing::error!(%error, "the reading of a file broke off");
            }
        });
        Steps(taken)
    }
}

fn of_row(error: RowError) -> Stop {
    match error {
        RowError::Io(error) => error.into(),
        RowError::Table(wrong) => Stop::Never(wrong.to_string()),
        RowError::Line(line) => Stop::Never(format!("line {}: {}", line.line, line.message)),
    }
}

/// What a product is found by: all that is said of it, the name first.
fn text_of(product: &ProductRow) -> String {
    let ProductRow { name, description, price, currency, sku, category, in_stock, metadata } = product;
    let mut text = name.clone();
    if !description.is_empty() {
        text += &format!(" - {description}");
    }
    if let Some(price) = price {
        text += &format!("\nPrice: {price} {currency}");
    }
    for (title, value) in [("Category", category), ("SKU", sku)] {
        if let Some(value) = value {
            text += &format!("\n{title}: {value}");
        }
    }
    for (title, value) in metadata {
        text += &format!("\n{title}: {}", value.as_str().unwrap_or_default());
    }
    if !in_stock {
        text += "\nOut of stock";
    }
    text
}

/// How a document begins. Blocks.
fn description(text: PathBuf) -> io::Result<String> {
    let mut decoded = Decoded::open(&text)?;
    let mut description = String::new();
    while let Some(piece) = decoded.piece()? {
        for word in piece.split_whitespace() {
            if !description.is_empty() {
                description.push(' ');
            }
            description.extend(word.chars().filter(|c| !c.is_control()));
            if description.chars().count() >= DESCRIPTION_CHARACTERS {
                return Ok(description.chars().take(DESCRIPTION_CHARACTERS).collect());
            }
        }
    }
    Ok(description)
}
