//! Embeddings in memory, to find which of an owner's chunks are nearest to a question.
//!
//! All of them are looked at: so none is missed, and new ones need no index. To look at a hundred thousand takes milliseconds
//! because each number is kept in one byte, in steps of a 127th of the vector's largest. The nearest of that are compared again
//! with their exact vectors, which the store has.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Store, StoreError};

/// How much of it is kept, over all owners.
const CACHE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A vector as it is stored.
pub(super) fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// How near a stored vector is to this one: their cosine, both being of length 1. None if they are not of one size.
pub(super) fn cosine(stored: &[u8], vector: &[f32]) -> Option<f32> {
    if stored.len() != vector.len() * 4 {
        return None;
    }
    let numbers = stored.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Some(numbers.zip(vector).map(|(a, b)| a * b).sum())
}

/// Vectors of one owner, all of one model.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// Numbers of each.
    dimensions: usize,
    chunks: Vec<i64>,
    catalogues: Vec<i64>,
    /// What one step is, for each.
    steps: Vec<f32>,
    /// Their numbers in steps, one vector after the other.
    numbers: Vec<i8>,
}

impl Vectors {
    /// Adds a stored vector. One of another size than the first is left out.
    fn add(&mut self, chunk: i64, catalogue: i64, stored: &[u8]) {
        let numbers = stored.as_chunks::<4>().0;
        if self.chunks.is_empty() {
            self.dimensions = numbers.len();
        }
        if numbers.is_empty() || numbers.len() != self.dimensions {
            return;
        }
        let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let step = step_of(numbers.clone());
        self.numbers.extend(numbers.map(|number| in_steps(number, step)));
        self.chunks.push(chunk);
        self.catalogues.push(catalogue);
        self.steps.push(step);
    }

    /// The chunks that are nearest to a vector, the nearest first; of one catalogue, if it is named. Takes as long as there are
    /// many: not for the threads of the runtime.
    pub(super) fn nearest(&self, vector: &[f32], catalogue: Option<i64>, most: usize) -> Vec<i64> {
        if vector.len() != self.dimensions || most == 0 || self.chunks.is_empty() {
            return Vec::new();
        }
        let step = step_of(vector.iter().copied());
        let vector: Vec<i8> = vector.iter().map(|number| in_steps(*number, step)).collect();
        let mut nearest: BinaryHeap<Reverse<Near>> = BinaryHeap::with_capacity(most + 1);
        for (at, numbers) in self.numbers.chunks_exact(self.dimensions).enumerate() {
            if catalogue.is_some_and(|catalogue| catalogue != self.catalogues[at]) {
                continue;
            }
            let near = Near(product(numbers, &vector) as f32 * self.steps[at], at);
            let is_nearer = nearest.peek().is_none_or(|Reverse(farthest)| near > *farthest);
            if nearest.len() < most || is_nearer {
                nearest.push(Reverse(near));
            }
            if nearest.len() > most {
                nearest.pop();
            }
        }
        nearest.into_sorted_vec().into_iter().map(|Reverse(Near(_, at))| self.chunks[at]).collect()
    }

    fn bytes(&self) -> usize {
        self.numbers.len() + self.chunks.len() * 20
    }
}

/// How near a vector is, and which.
#[derive(Clone, Copy, Debug)]
struct Near(f32, usize);

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Near {}

fn step_of(numbers: impl Iterator<Item = f32>) -> f32 {
    numbers.fold(0.0_f32, |most, number| most.max(number.abs())) / 127.0
}

fn in_steps(number: f32, step: f32) -> i8 {
    if step > 0.0 { (number / step).round() as i8 } else { 0 }
}

/// Numbers that are multiplied at once. Sums of their own for each make it twice as fast as one sum for all: that is what the
/// compiler makes vector instructions of.
const LANES: usize = 16;

/// The sum of the products. 4,096 numbers of one byte come to 66 million at most.
fn product(a: &[i8], b: &[i8]) -> i32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    // No product of two bytes is larger than 16 bits, but for -128 times itself, which is never there.
    let times = |a: i8, b: i8| i32::from(i16::from(a) * i16::from(b));
    let mut sums = [0_i32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += times(*a, *b);
        }
    }
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(a, b)| times(*a, *b)).sum();
    sums.iter().sum::<i32>() + rest
}

/// Vectors of the owners who asked last.
#[derive(Debug, Default)]
pub(super) struct VectorCache(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    of: HashMap<String, Entry>,
    /// Counts what is asked for, so that it is known who asked last.
    asked: u64,
    /// Counts what was forgotten: what was read before that is not kept.
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    model: String,
    vectors: Arc<Vectors>,
    asked: u64,
}

impl VectorCache {
    /// An owner's vectors changed.
    pub(super) fn forget(&self, owner: &str) {
        let mut cache = self.lock();
        cache.forgotten += 1;
        cache.of.remove(owner);
    }

    /// An owner's vectors of this model.
    pub(super) async fn of(
        &self,
        store: &Store,
        owner: &str,
        model: &str,
    ) -> Result<Arc<Vectors>, StoreError> {
        let forgotten = {
            let mut cache = self.lock();
            cache.asked += 1;
            let asked = cache.asked;
            if let Some(entry) = cache.of.get_mut(owner).filter(|entry| entry.model == model) {
                entry.asked = asked;
                return Ok(entry.vectors.clone());
            }
            cache.forgotten
        };
        let read = store.each_vector(owner, model, Vectors::default(), Vectors::add).await?;
        let vectors = Arc::new(read);
        let mut cache = self.lock();
        if cache.forgotten == forgotten {
            cache.keep(owner, model, vectors.clone());
        }
        Ok(vectors)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn keep(&mut self, owner: &str, model: &str, vectors: Arc<Vectors>) {
        let entry = Entry { model: model.to_owned(), vectors, asked: self.asked };
        self.of.insert(owner.to_owned(), entry);
        while self.of.len() > 1
            && self.of.values().map(|entry| entry.vectors.bytes()).sum::<usize>() > CACHE_BYTES_MAX
        {
            let longest_ago =
                self.of.iter().min_by_key(|(_, entry)| entry.asked).map(|(owner, _)| owner.clone());
            let Some(owner) = longest_ago else { break };
            self.of.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector of length 1, different for each seed.
    fn vector(seed: u32, dimensions: usize) -> Vec<f32> {
        let mut state = u64::from(seed) * 2 + 1;
        let mut numbers: Vec<f32> = (0..dimensions)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let length = numbers.iter().map(|n| n * n).sum::<f32>().sqrt();
        numbers.iter_mut().for_each(|n| *n /= length);
        numbers
    }

    fn many(count: u32) -> Vectors {
        let mut vectors = Vectors::default();
        for n in 0..count {
            vectors.add(i64::from(n), i64::from(n % 2), &bytes_of(&vector(n, 64)));
        }
        vectors
    }

    #[test]
    fn the_nearest_are_those_of_the_exact_vectors() {
        let vectors = many(2_000);
        let mut agreed = 0;
        for seed in 0..20 {
            let asked = vector(10_000 + seed, 64);
            let mut exact: Vec<(i64, f32)> = (0..2_000)
                .map(|n| (i64::from(n), cosine(&bytes_of(&vector(n, 64)), &asked).unwrap()))
                .collect();
            exact.sort_by(|a, b| b.1.total_cmp(&a.1));
            let nearest = vectors.nearest(&asked, None, 40);
            assert_eq!(nearest.len(), 40);
            agreed += exact[..10].iter().filter(|(chunk, _)| nearest.contains(chunk)).count();
        }
        assert_eq!(agreed, 200, "the ten nearest are among the forty that look nearest");
        assert_eq!(vectors.nearest(&vector(77, 64), None, 3)[0], 77, "nothing is nearer than itself");
    }

    #[test]
    fn products_are_summed_whatever_their_number() {
        for count in [0, 1, 15, 16, 17, 64, 511] {
            let numbers =
                |seed: i32| -> Vec<i8> { (0..count).map(|n| ((n * 37 + seed) % 255 - 127) as i8).collect() };
            let (a, b) = (numbers(3), numbers(90));
            let one_by_one: i32 = a.iter().zip(&b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            assert_eq!(product(&a, &b), one_by_one, "{count}");
        }
    }

    #[test]
    fn only_one_catalogue_is_looked_at_if_it_is_named() {
        let vectors = many(100);
        let nearest = vectors.nearest(&vector(77, 64), Some(0), 100);
        assert!(nearest.len() == 50 && nearest.iter().all(|chunk| chunk % 2 == 0));
    }

    #[test]
    fn vectors_of_another_size_are_not_compared() {
        let mut vectors = many(3);
        vectors.add(9, 0, &bytes_of(&vector(9, 32)));
        assert_eq!(vectors.chunks, [0, 1, 2]);
        assert!(vectors.nearest(&vector(1, 32), None, 3).is_empty());
        assert_eq!(cosine(&bytes_of(&vector(1, 32)), &vector(1, 64)), None);
        assert!(Vectors::default().nearest(&[], None, 3).is_empty());
        vectors.add(10, 0, &bytes_of(&[0.0; 64]));
        assert_eq!(vectors.nearest(&vector(1, 64), None, 9).len(), 4, "a vector of nothing harms nobody");
    }

    #[test]
    fn who_asked_longest_ago_is_forgotten_when_there_is_no_room() {
        let mut cache = Cache::default();
        let large = || {
            let numbers = vec![0; CACHE_BYTES_MAX / 2 - 100];
            Arc::new(Vectors { dimensions: 1, numbers, ..Vectors::default() })
        };
        for (asked, owner) in ["a", "b", "c"].into_iter().enumerate() {
            cache.asked = asked as u64;
            cache.keep(owner, "m", large());
        }
        let mut owners: Vec<_> = cache.of.keys().map(String::as_str).collect();
        owners.sort_unstable();
        assert_eq!(owners, ["b", "c"]);
    }
}
