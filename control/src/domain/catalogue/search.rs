//! Finds the chunks that answer a question: by their words, and by what they mean where there are embeddings; both fused.
//!
//! **Words.** Chunks are ranked by BM25. A word that very many chunks have tells little and costs the most, so words are taken
//! from the rarest on until what they are in comes to [`POSTINGS_MAX`]; if the rarest is in more, so many of those are ranked. **Meaning.** All embeddings of the owner are compared
//! with the question's, see [`super::vectors`]. **Both** are fused by reciprocal rank: a chunk's worth is the sum of 1 / (60 + its
//! rank) over the two (Cormack, Clarke and Büttcher, SIGIR 2009), which needs no common scale.
//!
//! The score that is shown is another thing, and says how similar a chunk is to the question, from 0 to 1: the cosine of the
//! two embeddings; where a chunk has none, the part of the question's words that it has, each weighing as much as it is rare
//! ([`Basis`] says which).
//!
//! Nobody waits long: if the question's embedding is not there in time, words alone decide.

use std::collections::HashMap;
use std::time::Duration;

use super::vectors::cosine;
use super::words::telling_words_of;
use super::{Catalogues, EmbedError, Hit};
use crate::store::{Scope, StoreError};

/// How many chunks each of the two ways finds, before they are fused.
const CANDIDATES: usize = 50;
/// How many times as many look near as are compared exactly.
const COARSE: usize = 2;
/// So many chunks with the question's words are ranked, at two to four microseconds each.
const POSTINGS_MAX: u32 = 8_000;
/// The constant of reciprocal rank fusion.
const RRF_K: f64 = 60.0;
/// The longest question, in characters: beyond that, nobody asks.
pub(super) const QUESTION_CHARACTERS_MAX: usize = 4_000;

/// What is asked, and of what.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Whose chunks may answer.
    pub owner: &'a str,
    /// The question.
    pub text: &'a str,
    /// Only chunks of this catalogue may answer.
    pub catalogue: Option<&'a str>,
    /// The most chunks that are found.
    pub limit: usize,
    /// How it is looked for.
    pub ways: Ways,
    /// How long its embedding may take.
    pub embed_within: Duration,
}

/// How chunks are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ways {
    /// By words and by meaning, as far as there are embeddings.
    #[default]
    Both,
    /// By words alone.
    Words,
    /// By meaning alone.
    Meaning,
}

/// What a score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The cosine of the embeddings of question and chunk; 0 where they point away from each other.
    Meaning,
    /// The part of the question's telling words that the chunk has, each weighing as much as it is rare.
    Words,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
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
    /// How similar it is to the question, 0 to 1.
    pub score: f32,
    /// In which way.
    pub basis: Basis,
}

/// A word, and how much it tells.
struct Word {
    text: String,
    /// How many chunks have it, as far as they were counted.
    count: u32,
    /// More the rarer it is.
    weight: f64,
}

impl Catalogues {
    /// The chunks that answer a question, the best first. None if nothing of the owner's has to do with it.
    pub async fn search(&self, question: Question<'_>) -> Result<Vec<Found>, StoreError> {
        let text: String = question.text.chars().take(QUESTION_CHARACTERS_MAX).collect();
        let question = Question { text: text.trim(), ..question };
        let scope = self.0.store.scope(question.owner, question.catalogue).await?;
        let Some(scope) = scope.filter(|_| !question.text.is_empty() && question.limit > 0) else {
            return Ok(Vec::new());
        };
        let by_words = async {
            if question.ways == Ways::Meaning {
                return Ok((Vec::new(), Vec::new()));
            }
            self.by_words(&scope, question.text).await
        };
        let (by_words, vector) = tokio::join!(by_words, self.vector_of(&question));
        let (words, by_words) = by_words?;
        let by_meaning = match &vector {
            Some(vector) => self.by_meaning(&scope, vector).await?,
            None => Vec::new(),
        };
        let fused = fuse(&[&by_words, &by_meaning]);
        let model = vector.as_ref().and(self.0.embedder.as_ref()).map(|embedder| embedder.model().to_owned());
        // Some may be gone meanwhile.
        let asked = fused.into_iter().take(question.limit.saturating_add(CANDIDATES)).collect();
        let mut hits = self.0.store.hits(question.owner, asked, model).await?;
        hits.truncate(question.limit);
        self.score(hits, &words, vector.as_deref()).await
    }

    /// The question's words, and the chunks that have the telling ones, the best first.
    async fn by_words(&self, scope: &Scope, text: &str) -> Result<(Vec<Word>, Vec<i64>), StoreError> {
        let texts = telling_words_of(text);
        if texts.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let store = &self.0.store;
        let (counts, all) = store.count_words(scope, texts.clone(), POSTINGS_MAX + 1).await?;
        let mut words: Vec<Word> = texts
            .into_iter()
            .zip(counts)
            .map(|(text, count)| Word { text, count, weight: weight_of(count, all) })
            .collect();
        words.sort_by_key(|word| word.count);
        let known: Vec<&Word> = words.iter().filter(|word| word.count > 0).collect();
        let mut postings = 0_u32;
        let rare = known.iter().take_while(|word| {
            postings = postings.saturating_add(word.count);
            postings <= POSTINGS_MAX
        });
        let rare = rare.count();
        // If each word is in very many chunks, those count that have all of them.
        let (ranked, any) = if rare > 0 { (&known[..rare], true) } else { (&known[..], false) };
        let texts = |words: &[&Word]| words.iter().map(|word| word.text.clone()).collect();
        let rank = async |words: &[&Word], any| {
            store.rank_words(scope, texts(words), any, POSTINGS_MAX, CANDIDATES as u32).await
        };
        let mut found = if known.is_empty() { Vec::new() } else { rank(ranked, any).await? };
        if found.is_empty() && known.len() > 1 {
            found = rank(&known[..1], true).await?;
        }
        Ok((words, found))
    }

    /// The question's embedding, if it can be had in time.
    async fn vector_of(&self, question: &Question<'_>) -> Option<Vec<f32>> {
        let embedder = self.0.embedder.as_ref().filter(|_| question.ways != Ways::Words)?;
        let embedding = embedder.embed(vec![question.text.to_owned()]);
        let embedded = tokio::time::timeout(question.embed_within, embedding).await;
        let late = EmbedError { reason: "it came too late".into(), is_passing: true };
        match embedded.unwrap_or(Err(late)) {
            Ok(embedded) => embedded.vectors.into_iter().next(),
            Err(error) => {
                tracing::warn!(%error, "a question has no embedding, and is answered by words");
                None
            }
        }
    }

    /// The chunks that are nearest to a vector, the nearest first.
    async fn by_meaning(&self, scope: &Scope, vector: &[f32]) -> Result<Vec<i64>, StoreError> {
        let Some(embedder) = &self.0.embedder else { return Ok(Vec::new()) };
        let (store, owner, model) = (&self.0.store, &scope.owner, embedder.model());
        let vectors = self.0.vectors.of(store, owner, model).await?;
        let (looked_for, catalogue) = (vector.to_vec(), scope.catalogue);
        let looking = move || vectors.nearest(&looked_for, catalogue, CANDIDATES * COARSE);
        let nearest = tokio::task::spawn_blocking(looking).await.map_err(|_| StoreError::Closed)?;
        let hits = store.hits(owner, nearest, Some(model.to_owned())).await?;
        let mut exact: Vec<(i64, f32)> = hits
            .iter()
            .filter_map(|hit| Some((hit.chunk, cosine(hit.vector.as_deref()?, vector)?)))
            .filter(|(_, cosine)| *cosine > 0.0)
            .collect();
        exact.sort_by(|a, b| b.1.total_cmp(&a.1));
        exact.truncate(CANDIDATES);
        Ok(exact.into_iter().map(|(chunk, _)| chunk).collect())
    }

    async fn score(
        &self,
        hits: Vec<Hit>,
        words: &[Word],
        vector: Option<&[f32]>,
    ) -> Result<Vec<Found>, StoreError> {
        let meanings: Vec<Option<f32>> =
            hits.iter().map(|hit| cosine(hit.vector.as_deref()?, vector?)).collect();
        let by_words = hits.iter().zip(&meanings).filter(|(_, meaning)| meaning.is_none());
        let chunks: Vec<i64> = by_words.map(|(hit, _)| hit.chunk).collect();
        let texts = words.iter().map(|word| word.text.clone()).collect();
        let has = if chunks.is_empty() { Vec::new() } else { self.0.store.words_in(chunks, texts).await? };
        let mut has = has.into_iter();
        let scored = hits.into_iter().zip(meanings).map(|(hit, meaning)| {
            let (score, basis) = match meaning {
                Some(cosine) => (cosine.clamp(0.0, 1.0), Basis::Meaning),
                None => (covered(words, &has.next().unwrap_or_default()), Basis::Words),
            };
            let Hit { chunk, position, content, product, product_name, catalogue, .. } = hit;
            Found { chunk, position, content, product, product_name, catalogue, score, basis }
        });
        Ok(scored.collect())
    }
}

/// How much a word tells that `count` of `all` chunks have, as BM25 weighs it.
fn weight_of(count: u32, all: u32) -> f64 {
    let (count, all) = (f64::from(count), f64::from(all));
    (1.0 + (all - count + 0.5).max(0.5) / (count + 0.5)).ln()
}

/// The part of the words, by weight, that a chunk has.
fn covered(words: &[Word], has: &[bool]) -> f32 {
    let all: f64 = words.iter().map(|word| word.weight).sum();
    let had: f64 = words.iter().zip(has).filter(|(_, has)| **has).map(|(word, _)| word.weight).sum();
    if all > 0.0 { (had / all) as f32 } else { 0.0 }
}

/// Makes one ranking of several.
fn fuse(rankings: &[&[i64]]) -> Vec<i64> {
    let mut worth: HashMap<i64, f64> = HashMap::new();
    for ranking in rankings {
        for (rank, chunk) in (1_u32..).zip(*ranking) {
            *worth.entry(*chunk).or_default() += 1.0 / (RRF_K + f64::from(rank));
        }
    }
    let mut fused: Vec<(i64, f64)> = worth.into_iter().collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused.into_iter().map(|(chunk, _)| chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_rankings_have_comes_before_what_one_has_first() {
        assert_eq!(fuse(&[&[1, 2, 3], &[4, 3, 5]]), [3, 1, 4, 2, 5]);
        assert_eq!(fuse(&[&[7, 8], &[]]), [7, 8]);
        assert!(fuse(&[&[], &[]]).is_empty());
    }

    #[test]
    fn a_rare_word_tells_more_and_all_words_are_one() {
        let word = |count| Word { text: String::new(), count, weight: weight_of(count, 1_000) };
        let words = [word(1), word(900)];
        assert!(covered(&words, &[true, false]) > 0.9);
        assert!(covered(&words, &[false, true]) > 0.0);
        assert_eq!(covered(&words, &[true, true]), 1.0);
        assert_eq!(covered(&[], &[]), 0.0);
        assert!(weight_of(1_000, 10) > 0.0, "counts that do not fit weigh something still");
    }
}
