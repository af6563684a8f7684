//! Chunks of products: written, searched by their words, and their embeddings.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError, catalogue};
use crate::domain::catalogue::Hit;
use crate::domain::time::UnixMs;

/// Chunks of one product, in order.
#[derive(Clone, Debug)]
pub struct NewChunks {
    /// The database's number of the product.
    pub product: i64,
    /// The place of the first of them in the product.
    pub position: u32,
    /// What they say.
    pub texts: Vec<String>,
}

/// Where is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose chunks: a user's id.
    pub owner: String,
    /// Only those of this catalogue, by its number.
    pub catalogue: Option<i64>,
}

impl Scope {
    /// An owner's chunks, or those of one catalogue of theirs; none if they have no such catalogue.
    pub(super) fn of(
        connection: &Connection,
        owner: &str,
        catalogue: Option<&str>,
    ) -> rusqlite::Result<Option<Self>> {
        let owner = owner.to_owned();
        let Some(id) = catalogue else { return Ok(Some(Self { owner, catalogue: None })) };
        let number = connection
            .prepare_cached("SELECT number FROM catalogues WHERE id = ?1 AND owner = ?2")?
            .query_row([id, &owner], |row| row.get(0))
            .optional()?;
        Ok(number.map(|number| Self { owner, catalogue: Some(number) }))
    }

    /// The words of the index that all chunks of the scope have.
    fn words(&self) -> String {
        let owner = owner_word(&self.owner);
        match self.catalogue {
            None => owner,
            Some(number) => format!("{owner} {}", catalogue_word(number)),
        }
    }

    /// An expression that finds the chunks of the scope of which `texts` is true.
    fn expression(&self, texts: &str) -> String {
        format!("{{scope}} : ({}) AND {{content}} : ({texts})", self.words())
    }
}

/// The word that stands for an owner in the index. Two owners may only share one if their ids differ in nothing but signs;
/// whose a chunk is, is looked at again in its row.
fn owner_word(owner: &str) -> String {
    let letters = owner.chars().filter(char::is_ascii_alphanumeric);
    std::iter::once('o').chain(letters.map(|c| c.to_ascii_lowercase())).collect()
}

fn catalogue_word(number: i64) -> String {
    format!("c{number}")
}

/// A word as a text in an expression.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// Finds chunks that have all of these words, the last of which may be only the beginning of one. None if there are no words.
pub(super) fn match_all(scope: &Scope, words: &[String]) -> Option<String> {
    let (last, others) = words.split_last()?;
    let mut texts: Vec<String> = others.iter().map(|word| quoted(word)).collect();
    texts.push(format!("({} OR {}*)", quoted(last), quoted(last)));
    Some(scope.expression(&texts.join(" AND ")))
}

impl Store {
    /// Writes chunks of a catalogue down, after which products up to `chunked_row` are whole. False: they are not wanted any
    /// more.
    pub async fn add_chunks(
        &self,
        catalogue: i64,
        owner: &str,
        chunks: Vec<NewChunks>,
        chunked_row: i64,
        progress: u8,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let scope = format!("{} {}", owner_word(owner), catalogue_word(catalogue));
        self.change(move |connection| {
            if !catalogue::is_wanted(connection, catalogue)? {
                return Ok(false);
            }
            let mut insert = connection.prepare_cached(
                "INSERT INTO chunks (product, position, catalogue, scope, content) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let mut count = connection
                .prepare_cached("UPDATE products SET chunks = chunks + ?2 WHERE number = ?1")?;
            let mut all = 0;
            for NewChunks { product, position, texts } in &chunks {
                for (position, text) in (*position..).zip(texts) {
                    insert.execute(params![product, position, catalogue, scope, text])?;
                }
                count.execute(params![product, texts.len() as i64])?;
                all += texts.len() as i64;
            }
            connection
                .prepare_cached(
                    "UPDATE catalogues SET chunks = chunks + ?2, chunked_row = ?3, progress = ?4, updated_ms = ?5
                     WHERE number = ?1",
                )?
                .execute(params![catalogue, all, chunked_row, progress, now.0])?;
            Ok(true)
        })
        .await
    }

    /// The next chunks of a catalogue behind `after`, with their numbers.
    pub async fn chunks_to_embed(
        &self,
        catalogue: i64,
        after: i64,
        most: u32,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, content FROM chunks WHERE catalogue = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![catalogue, after, most], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// How many chunks of a catalogue there are up to this one, and how many in all.
    pub async fn chunks_up_to(&self, catalogue: i64, chunk: i64) -> Result<(u32, u32), StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT count(*) FILTER (WHERE id <= ?2), count(*) FROM chunks WHERE catalogue = ?1",
                )?
                .query_row([catalogue, chunk], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
    }

    /// Writes embeddings of chunks down, which come in order. False: they are not wanted any more.
    pub async fn add_vectors(
        &self,
        catalogue: i64,
        model: String,
        dimensions: u32,
        vectors: Vec<(i64, Vec<u8>)>,
        progress: u8,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            if !catalogue::is_wanted(connection, catalogue)? {
                return Ok(false);
            }
            // A chunk whose product was deleted meanwhile has none.
            let mut insert = connection.prepare_cached(
                "INSERT OR REPLACE INTO chunk_vectors (chunk, vector) SELECT id, ?2 FROM chunks WHERE id = ?1",
            )?;
            for (chunk, vector) in &vectors {
                insert.execute(params![chunk, vector])?;
            }
            let last = vectors.last().map(|(chunk, _)| *chunk);
            connection
                .prepare_cached(
                    "UPDATE catalogues SET embedded_chunk = coalesce(?2, embedded_chunk), embedding_model = ?3,
                         embedding_dimensions = ?4, progress = ?5, updated_ms = ?6
                     WHERE number = ?1",
                )?
                .execute(params![catalogue, last, model, dimensions, progress, now.0])?;
            Ok(true)
        })
        .await
    }

    /// Where is searched; none if the owner has no such catalogue.
    pub async fn scope(&self, owner: &str, catalogue: Option<&str>) -> Result<Option<Scope>, StoreError> {
        let (owner, catalogue) = (owner.to_owned(), catalogue.map(str::to_owned));
        self.read(move |connection| Scope::of(connection, &owner, catalogue.as_deref())).await
    }

    /// How many chunks of the scope have each of these words, counted up to `most`; and how many chunks the owner has.
    pub async fn count_words(
        &self,
        scope: &Scope,
        words: Vec<String>,
        most: u32,
    ) -> Result<(Vec<u32>, u32), StoreError> {
        let scope = scope.clone();
        self.read(move |connection| {
            let mut count = connection.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM chunk_words WHERE chunk_words MATCH ?1 LIMIT ?2)",
            )?;
            let counts = words.iter().map(|word| {
                count.query_row(params![scope.expression(&quoted(word)), most], |row| row.get(0))
            });
            let counts = counts.collect::<Result<_, _>>()?;
            let all = connection
                .prepare_cached(
                    "SELECT coalesce(sum(chunks), 0) FROM catalogues
                     WHERE owner = ?1 AND searchable = 1 AND (?2 IS NULL OR number = ?2)",
                )?
                .query_row(params![scope.owner, scope.catalogue], |row| row.get(0))?;
            Ok((counts, all))
        })
        .await
    }

    /// The chunks of the scope that have any (else all) of these words, the best by BM25 first. Of very many, the first
    /// `ranked_max` are looked at.
    pub async fn rank_words(
        &self,
        scope: &Scope,
        words: Vec<String>,
        any: bool,
        ranked_max: u32,
        most: u32,
    ) -> Result<Vec<i64>, StoreError> {
        let scope = scope.clone();
        self.read(move |connection| {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            let texts = words.join(if any { " OR " } else { " AND " });
            let expression = scope.expression(&texts);
            let beyond: Option<i64> = connection
                .prepare_cached(
                    "SELECT rowid FROM chunk_words WHERE chunk_words MATCH ?1 ORDER BY rowid LIMIT 1 OFFSET ?2",
                )?
                .query_row(params![expression, ranked_max], |row| row.get(0))
                .optional()?;
            connection
                .prepare_cached(
                    "SELECT rowid FROM chunk_words
                     WHERE chunk_words MATCH ?1 AND rank MATCH 'bm25(0.0, 1.0)' AND rowid < ?2
                     ORDER BY rank LIMIT ?3",
                )?
                .query_map(params![expression, beyond.unwrap_or(i64::MAX), most], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Which of these words each of these chunks has.
    pub async fn words_in(&self, chunks: Vec<i64>, words: Vec<String>) -> Result<Vec<Vec<bool>>, StoreError> {
        self.read(move |connection| {
            let mut has = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM chunk_words WHERE chunk_words MATCH ?1 AND rowid = ?2)",
            )?;
            let mut found = Vec::with_capacity(chunks.len());
            for chunk in &chunks {
                let words = words.iter().map(|word| {
                    has.query_row(params![format!("{{content}} : {}", quoted(word)), chunk], |row| row.get(0))
                });
                found.push(words.collect::<Result<_, _>>()?);
            }
            Ok(found)
        })
        .await
    }

    /// These chunks, in this order, as far as they are the owner's and are shown. Their embeddings are those of `model`.
    pub async fn hits(
        &self,
        owner: &str,
        chunks: Vec<i64>,
        model: Option<String>,
    ) -> Result<Vec<Hit>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let mut find = connection.prepare_cached(
                "SELECT chunks.id, chunks.position, chunks.content, products.id, products.name, catalogues.id,
                     CASE WHEN catalogues.embedding_model = ?3 THEN
                         (SELECT vector FROM chunk_vectors WHERE chunk = chunks.id) END
                 FROM chunks JOIN products ON products.number = chunks.product
                 JOIN catalogues ON catalogues.number = chunks.catalogue
                 WHERE chunks.id = ?1 AND catalogues.owner = ?2 AND catalogues.searchable = 1 AND products.removed = 0",
            )?;
            let mut hits = Vec::with_capacity(chunks.len());
            for chunk in &chunks {
                let hit = find
                    .query_row(params![chunk, owner, model], |row| {
                        Ok(Hit {
                            chunk: row.get(0)?,
                            position: row.get(1)?,
                            content: row.get(2)?,
                            product: row.get(3)?,
                            product_name: row.get(4)?,
                            catalogue: row.get(5)?,
                            vector: row.get(6)?,
                        })
                    })
                    .optional()?;
                hits.extend(hit);
            }
            Ok(hits)
        })
        .await
    }

    /// Goes through all embeddings of an owner that this model made: `each` takes the chunk, its catalogue's number, and the
    /// vector.
    pub async fn each_vector<T: Send + 'static>(
        &self,
        owner: &str,
        model: &str,
        mut into: T,
        each: fn(&mut T, i64, i64, &[u8]),
    ) -> Result<T, StoreError> {
        let (owner, model) = (owner.to_owned(), model.to_owned());
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT chunks.id, chunks.catalogue, chunk_vectors.vector
                 FROM catalogues JOIN chunks ON chunks.catalogue = catalogues.number
                 JOIN chunk_vectors ON chunk_vectors.chunk = chunks.id
                 WHERE catalogues.owner = ?1 AND catalogues.searchable = 1 AND catalogues.embedding_model = ?2
                 ORDER BY chunks.catalogue, chunks.id",
            )?;
            let mut rows = query.query([&owner, &model])?;
            while let Some(row) = rows.next()? {
                let vector = row.get_ref(2)?.as_blob()?;
                each(&mut into, row.get(0)?, row.get(1)?, vector);
            }
            Ok(into)
        })
        .await
    }
}
