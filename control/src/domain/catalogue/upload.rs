//! Takes a file as it comes, bounded, into a file of ours; looks whether it is what it says and can be read; and has it
//! imported.
//!
//! Until it is accepted, the file is gone as soon as nobody holds it any more: a client that goes away in the middle leaves
//! nothing behind. What a dead process leaves is swept away at the next start.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::error::{Unreadable, UploadError};
use super::sniff::{self, Kind, safe_name};
use super::{Catalogues, IMPORT, NewCatalogue, csv, pdf, text};
use crate::domain::jobs::{Lane, NewJob};
use crate::domain::time::UnixMs;

/// How large a file may be: 50 MB.
pub const FILE_BYTES_MAX: u64 = 52_428_800;

/// How many files of one owner may wait to be imported.
const WAITING_MAX: u32 = 20;

/// How long a file may be looked at before it is accepted.
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);

/// So much of a file tells what it is.
const BEGINNING_BYTES: usize = 4 * 1024;

/// A file that is being uploaded. To drop it removes what came of it.
#[derive(Debug)]
pub struct Receiving {
    file: Option<File>,
    part: Part,
    id: String,
    file_name: String,
    content_type: Option<String>,
    bytes: u64,
}

/// A file that is removed once nobody holds it, unless it is kept.
#[derive(Debug)]
struct Part(Option<PathBuf>);

impl Part {
    /// The file stays.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // It may never have been made; what cannot be removed now is swept away at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that will be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What its import is called.
    pub job: String,
    /// The id of its catalogue.
    pub catalogue: String,
    /// What it was called, without folders.
    pub file_name: String,
    /// How large it is.
    pub file_bytes: u64,
    /// How long the import is likely to take, in seconds.
    pub estimated_seconds: u64,
}

impl Receiving {
    /// Takes the next bytes of the file.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > FILE_BYTES_MAX {
            return Err(UploadError::TooLarge { limit: FILE_BYTES_MAX });
        }
        match &mut self.file {
            Some(file) => Ok(file.write_all(bytes).await?),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        }
    }

    /// How much came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Catalogues {
    /// Begins to take a file. `file_name`: as its sender gives it; a path in it is left out. `content_type`: likewise, if it
    /// does.
    pub async fn receive(
        &self,
        file_name: &str,
        content_type: Option<&str>,
    ) -> Result<Receiving, UploadError> {
        let id = format!("catalog_{}", Uuid::now_v7().simple());
        let mut folder = tokio::fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        folder.mode(0o700);
        folder.create(&self.0.folder).await?;
        let path = self.0.folder.join(format!("{id}.part"));
        let part = Part(Some(path.clone()));
        let file = File::create_new(&path).await?;
        Ok(Receiving {
            file: Some(file),
            part,
            id,
            file_name: safe_name(file_name),
            content_type: content_type.map(str::to_owned),
            bytes: 0,
        })
    }

    /// Takes a whole file, if it can be read, to be imported. `name`: what its owner calls the catalogue; none: as the file.
    pub async fn accept(
        &self,
        owner: &str,
        mut receiving: Receiving,
        name: Option<&str>,
        now: UnixMs,
    ) -> Result<Accepted, UploadError> {
        let house = &self.0;
        if let Some(mut file) = receiving.file.take() {
            file.flush().await?;
            file.sync_all().await?;
        }
        let kind = self.check(&receiving).await?;
        let Receiving { part, id, file_name, bytes, .. } = receiving;
        let whole = Part(Some(house.file(&id)));
        if let (Some(from), Some(to)) = (&part.0, &whole.0) {
            tokio::fs::rename(from, to).await?;
        }
        part.keep();
        let job = format!("job_products_{}", Uuid::now_v7().simple());
        let embeds = house.embedder.is_some();
        let new = NewCatalogue {
            id: id.clone(),
            owner: owner.to_owned(),
            name: catalogue_name(name, &file_name),
            job: job.clone(),
            file_name: file_name.clone(),
            kind,
            file_bytes: bytes,
            embeds,
            at: now,
        };
        let work = NewJob {
            kind: IMPORT,
            key: id.clone(),
            // One of each owner's at a time: who uploads much waits for himself.
            lane: Lane::unordered(format!("{IMPORT}:{owner}")),
            payload: json!({ "catalogue": id }),
            at: now,
        };
        // Not given up half-way if the client goes away now: the row and its file come and go together.
        let house = house.clone();
        let kept = tokio::spawn(async move {
            let added = house.store.add_catalogue(new, work, WAITING_MAX).await?;
            added.map_err(|waiting| UploadError::Busy { waiting })?;
            whole.keep();
            Ok::<_, UploadError>(())
        });
        kept.await.map_err(io::Error::other)??;
        let estimated_seconds = estimate_seconds(kind, bytes, embeds);
        Ok(Accepted { job, catalogue: id, file_name, file_bytes: bytes, estimated_seconds })
    }

    async fn check(&self, receiving: &Receiving) -> Result<Kind, UploadError> {
        // Closed only with the house, which this is part of.
        let _reading = self.0.checks.acquire().await.map_err(io::Error::other)?;
        let path = receiving.part.0.clone().unwrap_or_default();
        let (name, content_type) = (receiving.file_name.clone(), receiving.content_type.clone());
        let check = move || check(&path, &name, content_type.as_deref());
        match tokio::time::timeout(CHECK_TIME_MAX, tokio::task::spawn_blocking(check)).await {
            Ok(checked) => checked.map_err(io::Error::other)?,
            Err(_) => Err(UploadError::Unreadable(Unreadable::whole("it takes too long to read"))),
        }
    }
}

/// Looks whether a file is what it says, and can be read. Blocks.
fn check(path: &Path, name: &str, content_type: Option<&str>) -> Result<Kind, UploadError> {
    let mut beginning = Vec::new();
    fs::File::open(path)?.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    let kind = sniff::kind_of(name, content_type, &beginning)?;
    let unreadable = |why: Unreadable| UploadError::Unreadable(why);
    match kind {
        Kind::Csv => drop(csv::check(path)?.map_err(unreadable)?),
        Kind::Text => text::check(path)?.map_err(unreadable)?,
        Kind::Pdf => pdf::check(path).map_err(|why| unreadable(Unreadable::whole(why.to_string())))?,
    }
    Ok(kind)
}

/// What a catalogue is called: as its owner says, else as its file.
fn catalogue_name(name: Option<&str>, file_name: &str) -> String {
    let name = name.map(|name| name.chars().filter(|c| !c.is_control()).collect::<String>());
    let name = name.map(|name| name.trim().chars().take(sniff::NAME_CHARACTERS_MAX).collect::<String>());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| file_name.to_owned())
}

/// How long an import is likely to take, in seconds: a megabyte of text a second, and for embeddings, which are asked for in
/// requests of some fifty kilobytes, four at a time, a third of a second for each four. Of a PDF, a tenth is text.
fn estimate_seconds(kind: Kind, bytes: u64, embeds: bool) -> u64 {
    let text_bytes = if kind == Kind::Pdf { bytes / 10 } else { bytes };
    let embedding = if embeds { text_bytes / 600_000 } else { 0 };
    1 + bytes / 1_000_000 + embedding
}
