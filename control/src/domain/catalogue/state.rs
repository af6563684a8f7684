//! How far the import of a file is.

use super::sniff::Kind;
use crate::domain::time::UnixMs;

/// An enum whose values have names in the database and in answers.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    };
}

named! {
    /// Where an import stands.
    State {
        /// It waits for its turn.
        Pending = "pending",
        /// It runs, or goes on after a restart.
        Processing = "processing",
        /// All is imported.
        Completed = "completed",
        /// It was given up: nothing is left of it but why.
        Failed = "failed",
        /// Its owner does not want it any more: nothing is left of it.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether nothing comes any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

named! {
    /// What an import does.
    Stage {
        /// Reads products out of the file.
        Parsing = "parsing",
        /// Cuts what is said of them into chunks. After this, they are shown and found.
        Chunking = "chunking",
        /// Has the chunks' embeddings made.
        Embedding = "embedding",
    }
}

impl Stage {
    /// The progress at its beginning and at its end, in percent. Embeddings are made by somebody else and take the longest;
    /// without them, chunking ends the import.
    pub const fn share(self, embeds: bool) -> (u8, u8) {
        match (self, embeds) {
            (Self::Parsing, true) => (0, 15),
            (Self::Chunking, true) => (15, 30),
            (Self::Embedding, _) => (30, 100),
            (Self::Parsing, false) => (0, 50),
            (Self::Chunking, false) => (50, 100),
        }
    }

    /// The progress where `done` of `all` of this stage is done.
    pub fn progress(self, embeds: bool, done: u64, all: u64) -> u8 {
        let (from, to) = self.share(embeds);
        if done >= all {
            return to;
        }
        let part = u64::from(to - from) * done / all;
        from + u8::try_from(part).unwrap_or(to - from)
    }
}

named! {
    /// Where the embeddings of a catalogue stand.
    Embeddings {
        /// Nobody makes any here: chunks are found by their words.
        Off = "off",
        /// They are being made.
        Pending = "pending",
        /// All are there.
        Completed = "completed",
        /// They could not be made, not all at least: the other chunks are found by their words.
        Failed = "failed",
    }
}

/// A file that was uploaded, and its import.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    /// Ours, for the database.
    pub number: i64,
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
    /// Where the import stands.
    pub state: State,
    /// What it does, or did last.
    pub stage: Stage,
    /// How much of it is done: 0 to 100.
    pub progress: u8,
    /// Why it failed.
    pub reason: Option<String>,
    /// How many products there are.
    pub products: u32,
    /// How many chunks.
    pub chunks: u32,
    /// Products up to this row are in chunks.
    pub chunked_row: i64,
    /// Chunks up to this one have embeddings.
    pub embedded_chunk: i64,
    /// Where its embeddings stand.
    pub embeddings: Embeddings,
    /// Which model makes them.
    pub embedding_model: Option<String>,
    /// How long they are.
    pub embedding_dimensions: Option<u32>,
    /// When the file was accepted.
    pub created: UnixMs,
    /// When something changed last.
    pub updated: UnixMs,
    /// When the import was over.
    pub ended: Option<UnixMs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_grows_from_stage_to_stage_to_a_hundred() {
        for (embeds, stages) in [
            (false, &[Stage::Parsing, Stage::Chunking][..]),
            (true, &[Stage::Parsing, Stage::Chunking, Stage::Embedding]),
        ] {
            let mut last = 0;
            for stage in stages {
                assert_eq!(stage.progress(embeds, 0, 7), last);
                last = stage.progress(embeds, 7, 7);
                assert!(stage.progress(embeds, 3, 7) < last);
            }
            assert_eq!(last, 100);
        }
        assert_eq!(Stage::Embedding.progress(true, 9, 0), 100, "nothing to do is done");
    }
}
