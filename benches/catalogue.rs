//! How long a question to a catalogue takes: by words, by embeddings, and by both; and a persona's whole answer from it.
//!
//! It uploads tables of made-up products, has the product's own import cut and embed them, and asks for products by some of their
//! words. Words are as unequally frequent as in a language (Zipf's law). Embeddings are made in this process, by the directions
//! of their words: what a vendor takes for a question's embedding comes on top of what is printed.
//!
//! A question has eight of a product's rarest words and a common one, and must find that product. One row asks for words that are
//! in thousands of chunks each, which is the worst for a search by words. The first question of each row warms up, and is not
//! counted.
//!
//! An answer is looked for by both, asked of a double of OpenAI on loopback, which answers at once, and written down. So it is the
//! answer's time apart from the vendor's: what a model takes to think comes on top.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use indicatif::{ProgressBar, ProgressStyle};
use offhook::domain::api_keys::ApiKeys;
use offhook::domain::catalogue::{Catalogues, EmbedError, Embedded, Embedder, Found, Question, State, Ways};
use offhook::domain::jobs::Worker;
use offhook::domain::keys::Keys;
use offhook::domain::personas::answers::{Answers, Asked};
use offhook::domain::personas::conversations::Within;
use offhook::domain::personas::media::Media;
use offhook::domain::personas::{Persona, PersonaVoice};
use offhook::domain::speech::Answering;
use offhook::domain::time::UnixMs;
use offhook::domain::user_jobs::UserJobKind;
use offhook::domain::user_model::UserModel;
use offhook::domain::user_settings::UserSettings;
use offhook::domain::users::GoogleIdentity;
use offhook::integrations::http::HttpClient;
use offhook::settings::{Secret, Settings};
use offhook::store::Store;
use offhook_benches::table::markdown;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::json;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, clap::Parser)]
#[command(
    name = "catalogue",
    about = "How long a question to a catalogue takes: by words, by embeddings, and by both; and a persona's answer"
)]
struct Args {
    /// How many chunks there are
    #[arg(long, default_value_t = 100_000)]
    chunks: usize,
    /// How many questions are asked each way
    #[arg(long, default_value_t = 500)]
    questions: usize,
    /// Numbers of an embedding
    #[arg(long, default_value_t = 512)]
    dimensions: usize,
    /// What products there are
    #[arg(long, default_value_t = 20_240_229)]
    seed: u64,
}

/// Products of one table.
const TABLE_ROWS: usize = 20_000;
/// How many words there are.
const VOCABULARY: usize = 20_000;
/// Words that are said of a product: some 400 characters.
const WORDS_PER_PRODUCT: usize = 60;
/// So many words are frequent: each is in more than a hundredth of the chunks.
const FREQUENT: usize = 100;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(measure(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(Store::open(folder.path(), UnixMs::now())?);
    let identity =
        GoogleIdentity { sub: "bench".into(), email: "bench@example.com".into(), name: None, picture: None };
    let owner = store.sign_in(identity, UnixMs::now()).await?.id;
    let catalogues =
        Catalogues::new(store.clone(), folder.path(), Some(Arc::new(Directions::new(args.dimensions))));
    let filled = Instant::now();
    let questions = fill(args, &store, &catalogues, &owner).await?;
    let filled = filled.elapsed();

    let mut table = vec![["way", "p50", "p99", "slowest", "questions"].map(str::to_owned).to_vec()];
    let mut chance = Chance(args.seed);
    let frequent: Vec<(String, String)> = (0..questions.len())
        .map(|_| {
            let words: Vec<String> = (0..4).map(|_| word(chance.next() as usize % FREQUENT)).collect();
            (words.join(" "), String::new())
        })
        .collect();
    let row = |way: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        let at = |part: f64| {
            let index = ((times.len() - 1) as f64 * part).round() as usize;
            format!("{:.2} ms", times[index].as_secs_f64() * 1e3)
        };
        vec![way.into(), at(0.5), at(0.99), at(1.0), times.len().to_string()]
    };
    let bar = bar(5 * questions.len(), "questions")?;
    for (way, ways, questions) in [
        ("words", Ways::Words, &questions),
        ("embeddings", Ways::Meaning, &questions),
        ("both", Ways::Both, &questions),
        ("both, frequent words", Ways::Both, &frequent),
    ] {
        bar.set_message(format!("asks by {way}"));
        let mut times = Vec::with_capacity(questions.len());
        let mut found = 0;
        for (text, product) in questions.iter().take(1).chain(questions) {
            let begun = Instant::now();
            let hits = ask(&catalogues, &owner, text, ways).await?;
            times.push(begun.elapsed());
            found += usize::from(hits.iter().any(|hit| product.is_empty() || hit.product_name == *product));
            bar.inc(1);
        }
        times.remove(0);
        if found * 10 < questions.len() * 9 {
            return Err(format!(
                "by {way}, only {found} of {} questions find their product",
                questions.len()
            )
            .into());
        }
        table.push(row(way, times));
    }
    bar.set_message("asks a persona");
    let house = House::new(folder.path(), &store, &catalogues, &owner).await?;
    let mut times = Vec::with_capacity(questions.len());
    for (text, _) in questions.iter().take(1).chain(&questions) {
        let begun = Instant::now();
        house.ask(text).await?;
        times.push(begun.elapsed());
        bar.inc(1);
    }
    times.remove(0);
    table.push(row("an answer", times));
    bar.finish_and_clear();
    let database = std::fs::metadata(folder.path().join("offhook.db"))?.len();
    let build =
        if cfg!(debug_assertions) { "a debug build: these times mean nothing" } else { "a release build" };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "{} chunks of one owner, embeddings of {} numbers, {cores} cores, {build}.\n\
         Imported in {:.1} s; the database has {:.0} MB.\n\n{}",
        args.chunks,
        args.dimensions,
        filled.as_secs_f64(),
        database as f64 / 1e6,
        markdown(&table)
    )?;
    store.close();
    Ok(())
}

fn bar(length: usize, what: &str) -> Result<ProgressBar, Error> {
    let bar = ProgressBar::new(length as u64);
    bar.set_style(ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}  {{msg}}"))?);
    Ok(bar)
}

async fn ask(catalogues: &Catalogues, owner: &str, text: &str, ways: Ways) -> Result<Vec<Found>, Error> {
    let embed_within = Duration::from_secs(5);
    Ok(catalogues.search(Question { owner, text, catalogue: None, limit: 5, ways, embed_within }).await?)
}

/// A persona that answers with a model that takes no time.
struct House {
    answers: Answers,
    persona: Persona,
    _fakes: FakeVendors,
}

impl House {
    async fn new(
        folder: &Path,
        store: &Arc<Store>,
        catalogues: &Catalogues,
        owner: &str,
    ) -> Result<Self, Error> {
        let fakes = FakeVendors::start().await;
        let mut settings = Settings::local(folder.to_path_buf());
        settings.openai.base = fakes.base_url(Vendor::OpenAi).parse()?;
        settings.openai.key = Some(Secret::new("k"));
        let http = HttpClient::new()?;
        let keys = Arc::new(Keys::load(&settings)?);
        let kept = Arc::new(UserSettings::new(store.clone(), keys));
        let keys = Arc::new(ApiKeys::new(&settings, store.clone(), kept, http.clone()));
        let voices = Arc::new(Answering::persona_voices(&settings, &http)?);
        let now = UnixMs::now();
        let (id, job) = store.add_persona(owner, "Bench".into(), "v".into(), "en".into(), now).await?;
        let persona = store.persona(owner, &id).await?;
        let voice = PersonaVoice { id: "v".into(), maker: "elevenlabs".into(), sample: String::new() };
        let analysis = UserJobKind::PersonaAnalysis.id_after(&job);
        store.persona_cloned(&persona, voice, &job, json!({}), &analysis, now).await?;
        let answers = Answers::new(
            store.clone(),
            catalogues.clone(),
            keys,
            (voices, Arc::new(Media::new(folder, None))),
            UserModel::new(http, &settings.openai),
            settings.echome.conversation_idle,
        );
        Ok(Self { answers, persona: store.persona(owner, &id).await?, _fakes: fakes })
    }

    async fn ask(&self, text: &str) -> Result<(), Error> {
        let asked = Asked {
            persona: &self.persona,
            customer: None,
            within: Within::New,
            source: None,
            text,
            aloud: false,
        };
        let answer = self.answers.answer(asked).await?;
        if answer.citations.is_empty() { Err("an answer from nothing".into()) } else { Ok(()) }
    }
}

/// Imports products through the product's own code. Gives questions, each with the name of the product that it asks for.
async fn fill(
    args: &Args,
    store: &Arc<Store>,
    catalogues: &Catalogues,
    owner: &str,
) -> Result<Vec<(String, String)>, Error> {
    let bar = bar(args.chunks, "chunks")?;
    let mut chance = Chance(args.seed);
    let every = (args.chunks / args.questions.max(1)).max(1);
    let mut questions = Vec::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = Worker::new(store.clone(), vec![catalogues.work()], Arc::new(UnixMs::now));
    let working = tokio::spawn(Arc::new(worker).keep_working(stopped));
    for first in (0..args.chunks).step_by(TABLE_ROWS) {
        let rows = TABLE_ROWS.min(args.chunks - first);
        let mut table = String::from("name,description,price,sku\n");
        for n in first..first + rows {
            let words: Vec<usize> = (0..WORDS_PER_PRODUCT).map(|_| chance.rank()).collect();
            let name = format!("Product {n}");
            if n % every == 0 && questions.len() < args.questions {
                let mut rare = words.clone();
                rare.sort_unstable_by(|a, b| b.cmp(a));
                rare.dedup();
                let asked: Vec<String> =
                    rare.iter().take(8).chain(&words[..1]).map(|rank| word(*rank)).collect();
                questions.push((asked.join(" "), name.clone()));
            }
            let description: Vec<String> = words.into_iter().map(word).collect();
            table += &format!("{name},{},{}.99,SKU-{n}\n", description.join(" "), n % 100);
        }
        let job = upload(catalogues, owner, &format!("{first}.csv"), table.as_bytes()).await?;
        loop {
            let import = catalogues.import(owner, &job).await?;
            bar.set_position(first as u64 + u64::from(import.progress) * rows as u64 / 100);
            bar.set_message(import.stage.as_str());
            match import.state {
                State::Completed => break,
                State::Failed | State::Cancelled => {
                    return Err(format!("an import failed: {import:?}").into());
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    // Nobody works any more if this fails.
    let _ = stop.send(true);
    working.await?;
    bar.finish_and_clear();
    Ok(questions)
}

async fn upload(catalogues: &Catalogues, owner: &str, name: &str, bytes: &[u8]) -> Result<String, Error> {
    let mut receiving = catalogues.receive(name, None).await?;
    for piece in bytes.chunks(64 * 1024) {
        receiving.write(piece).await?;
    }
    Ok(catalogues.accept(owner, receiving, None, UnixMs::now()).await?.job)
}

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// The rank of a word, by Zipf's law: the n-th is as frequent as 1/n.
    fn rank(&mut self) -> usize {
        let part = self.next() as f64 / (1_u64 << 31) as f64;
        ((VOCABULARY as f64).powf(part) as usize).min(VOCABULARY - 1)
    }
}

/// The word of a rank: syllables, which no two share.
fn word(rank: usize) -> String {
    const SYLLABLES: [&str; 28] = [
        "ba", "ke", "lo", "mu", "ni", "po", "ra", "su", "ti", "vo", "wa", "zu", "fe", "go", "hi", "ju", "ka",
        "le", "mo", "nu", "pi", "ro", "sa", "tu", "vi", "we", "xo", "za",
    ];
    let mut word = String::new();
    let mut rest = rank + SYLLABLES.len();
    while rest > 0 {
        word += SYLLABLES[rest % SYLLABLES.len()];
        rest /= SYLLABLES.len();
    }
    word
}

/// Makes embeddings: each word has a direction of its own.
struct Directions {
    dimensions: usize,
    known: Mutex<HashMap<String, Arc<[f32]>>>,
}

impl Directions {
    fn new(dimensions: usize) -> Self {
        Self { dimensions, known: Mutex::default() }
    }

    fn of(&self, text: &str) -> Vec<f32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = vec![0.0_f32; self.dimensions];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let direction = known.entry(word.to_owned()).or_insert_with(|| {
                let mut chance = Chance(
                    word.bytes().fold(7, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)),
                );
                (0..self.dimensions).map(|_| chance.next() as f32 / (1_u64 << 30) as f32 - 1.0).collect()
            });
            for (sum, number) in sum.iter_mut().zip(direction.iter()) {
                *sum += number;
            }
        }
        let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        sum.iter_mut().for_each(|number| *number /= length);
        sum
    }
}

impl Embedder for Directions {
    fn model(&self) -> &str {
        "directions"
    }

    fn texts_max(&self) -> usize {
        64
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        let vectors = texts.iter().map(|text| self.of(text)).collect();
        async move { Ok(Embedded { vectors, tokens: 0 }) }.boxed()
    }
}
