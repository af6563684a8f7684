use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::sync::Notify;

use super::testing::{Bench, Meanings, PRODUCTS};
use super::*;

const NOTEBOOKS: &[u8] = include_bytes!("../../../../fixtures/catalogue/notebooks.pdf");
const STORE: &[u8] = include_bytes!("../../../../fixtures/catalogue/store.txt");

fn refused(result: Result<Accepted, UploadError>) -> UploadError {
    result.expect_err("it should be refused")
}

/// A table of so many products.
fn table(count: usize) -> Vec<u8> {
    let rows = (1..=count).map(|n| format!("Thing {n},It is number w{n}.,{n}\n"));
    format!("name,description,price\n{}", rows.collect::<String>()).into_bytes()
}

#[tokio::test]
async fn a_table_becomes_products_that_are_listed_and_found() {
    let bench = Bench::new().await;
    let accepted = bench.upload("spring/products.csv", PRODUCTS).await.unwrap();
    assert_eq!((accepted.file_name.as_str(), accepted.file_bytes), ("products.csv", PRODUCTS.len() as u64));
    assert!(accepted.catalogue.starts_with("catalog_") && accepted.job.starts_with("job_products_"));
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.progress), (State::Pending, 0));
    assert!(bench.names(None).await.is_empty(), "nothing is shown before it is whole");

    bench.work().await;
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.progress, import.products), (State::Completed, 100, 4));
    assert_eq!((import.chunks, import.embeddings), (4, Embeddings::Off));
    assert!(bench.files().is_empty(), "the file is not needed any more");

    let page = bench.catalogues.products(&bench.owner, None, None, 2, 3).await.unwrap();
    assert_eq!((page.total, page.products.len()), (4, 1));
    let Product { product, catalogue, .. } = &page.products[0];
    assert_eq!(
        (product.name.as_str(), product.price, product.currency.as_str()),
        ("Fountain Pen", Some(39.5), "EUR")
    );
    assert_eq!(catalogue, &accepted.catalogue);

    let found = bench.search("Do you have waterproof or water-resistant notebooks in A5?").await;
    assert_eq!(found[0].product_name, "AquaGuard Notebook A5");
    assert!(found[0].content.starts_with("AquaGuard Notebook A5 - Water-resistant synthetic paper"));
    assert_eq!(found[0].basis, Basis::Words);
    assert!(found[0].score > found.last().unwrap().score && found[0].score < 1.0);
    assert!(bench.search("zebra").await.is_empty());
    assert!(bench.search(" ?! ").await.is_empty());
}

#[tokio::test]
async fn products_are_searched_by_all_words_the_last_perhaps_not_whole() {
    let bench = Bench::new().await;
    let first = bench.import("products.csv", PRODUCTS).await;
    bench.import("pens.csv", b"name,price\nBlue Notebook,3\n").await;
    assert_eq!(bench.names(Some("aquaguard B5")).await, ["AquaGuard Notebook B5"]);
    assert_eq!(bench.names(Some("FOUNT")).await, ["Fountain Pen"]);
    assert_eq!(bench.names(Some("PEN-01")).await, ["Fountain Pen"]);
    assert_eq!(bench.names(Some("notebooks")).await.len(), 4, "one and many are the same");
    assert!(bench.names(Some("aquaguard zebra")).await.is_empty());
    assert!(bench.names(Some("\" OR *) NEAR(")).await.is_empty(), "nobody's syntax");
    assert!(bench.names(Some("???")).await.is_empty());
    assert_eq!(bench.names(Some("  ")).await.len(), 5);
    let of_first = |search| bench.catalogues.products(&bench.owner, search, Some(&first.id), 1, 50);
    assert_eq!(of_first(Some("notebook")).await.unwrap().total, 3);
    assert_eq!(of_first(None).await.unwrap().total, 4);
    let found = bench.search_as(&bench.owner, "notebook", Some(&first.id)).await;
    assert!(found.len() == 3 && found.iter().all(|found| found.catalogue == first.id));
}

#[tokio::test]
async fn any_text_may_be_searched_for() {
    let bench = Bench::new().await;
    bench.import("products.csv", PRODUCTS).await;
    let odd = [
        "\u{345}",
        "a\u{300}",
        "²",
        "½ ①",
        "\0x",
        "NEAR",
        "OR",
        "content:x",
        "{scope}",
        "^a",
        "a*",
        "'",
        "\"",
        "字",
        "-",
    ];
    for text in odd {
        bench.names(Some(text)).await;
        bench.search(text).await;
    }
    let all = odd.join(" ");
    bench.search(&all.repeat(1_000)).await;
    assert_eq!(bench.search(&format!("{all} fountain")).await[0].product_name, "Fountain Pen");
}

#[tokio::test]
async fn a_document_is_one_product_with_many_chunks() {
    let bench = Bench::new().await;
    let pdf = bench.import("notebooks.pdf", NOTEBOOKS).await;
    assert_eq!((pdf.state, pdf.products, pdf.kind), (State::Completed, 1, Kind::Pdf), "{pdf:?}");
    let long: String = (0..2_000).map(|n| format!("Sentence w{n} says something. ")).collect();
    let text = bench.import("long.txt", long.as_bytes()).await;
    assert_eq!((text.state, text.products), (State::Completed, 1));
    assert!(text.chunks > 60);
    assert!(bench.files().is_empty(), "not even its text: {:?}", bench.files());

    let found = bench.search("how much does the AquaGuard cost?").await;
    assert_eq!(found[0].catalogue, pdf.id);
    assert!(found[0].content.contains("It costs 19.99 dollars."));
    assert!(bench.search("w1999").await[0].content.contains("w1999 says"));

    let (product, chunks) = bench.catalogues.product(&bench.owner, &found[0].product).await.unwrap();
    assert_eq!((product.product.price, product.product.metadata["pages"].as_u64()), (None, Some(2)));
    assert!(product.product.description.starts_with("Waterproof notebooks The AquaGuard"));
    assert_eq!((chunks.len() as u32, chunks[0].position), (product.chunks, 0));
    assert_eq!(chunks[0].content, found[0].content);
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_found() {
    let bench = Bench::with(Some(Arc::new(Meanings::default()))).await;
    let import = bench.import("products.csv", PRODUCTS).await;
    let id = bench.catalogues.products(&bench.owner, None, None, 1, 1).await.unwrap().products[0].id.clone();
    let (catalogues, other) = (&bench.catalogues, bench.other.as_str());
    assert!(matches!(catalogues.import(other, &import.job).await, Err(Error::NotFound(_))));
    assert!(matches!(catalogues.cancel(other, &import.job, UnixMs(9)).await, Err(Error::NotFound(_))));
    assert!(matches!(catalogues.product(other, &id).await, Err(Error::NotFound(_))));
    assert!(matches!(catalogues.remove_product(other, &id).await, Err(Error::NotFound(_))));
    for catalogue in [None, Some(import.id.as_str())] {
        for search in [None, Some("notebook")] {
            assert_eq!(
                catalogues.products(other, search, catalogue, 1, 50).await.unwrap(),
                Products::default()
            );
        }
        assert!(bench.search_as(other, "notebook", catalogue).await.is_empty());
    }
    assert_eq!(bench.names(None).await.len(), 4);
}

#[tokio::test]
async fn a_refused_file_says_why_and_leaves_nothing() {
    let bench = Bench::new().await;
    let lies: [(&str, &[u8]); 5] = [
        ("a.csv", NOTEBOOKS),
        ("a.pdf", PRODUCTS),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0"),
        ("a.docx", b"PK\x03\x04"),
        ("a.csv", b""),
    ];
    for (name, bytes) in lies {
        assert!(matches!(refused(bench.upload(name, bytes).await), UploadError::WrongType(_)), "{name}");
    }
    let unreadable: [(&str, &[u8], &str); 6] = [
        ("a.csv", b"title,cost\nA,1\n", "line 1: the header has no column called name"),
        ("a.csv", b"name,price\nA,1\nB\n", "line 3: has 1 value where the header has 2"),
        ("a.csv", b"name,price\nA,1\n\"B,2\n", "a quote"),
        ("a.txt", b"   \n", "no word"),
        ("a.pdf", include_bytes!("../../../../fixtures/catalogue/encrypted.pdf"), "encrypted"),
        ("a.pdf", b"%PDF-1.4\n", "damaged"),
    ];
    for (name, bytes, wanted) in unreadable {
        let error = refused(bench.upload(name, bytes).await);
        assert!(matches!(error, UploadError::Unreadable(_)), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    bench.assert_nothing_is_left();
    assert_eq!(bench.count("catalogues") + bench.count("jobs"), 0);
}

#[tokio::test]
async fn a_file_may_have_fifty_megabytes_and_not_a_byte_more() {
    let bench = Bench::new().await;
    let mut receiving = bench.catalogues.receive("large.txt", None).await.unwrap();
    let piece = b"word ".repeat(13_107);
    let mut left = usize::try_from(FILE_BYTES_MAX).unwrap();
    while left > 0 {
        let count = piece.len().min(left);
        receiving.write(&piece[..count]).await.unwrap();
        left -= count;
    }
    assert_eq!(receiving.bytes(), FILE_BYTES_MAX);
    assert!(matches!(receiving.write(b"x").await, Err(UploadError::TooLarge { limit: 52_428_800 })));
    assert_eq!(bench.files().len(), 1, "it is on disk as it comes");
    drop(receiving);
    bench.assert_nothing_is_left();
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let bench = Bench::new().await;
    let mut receiving = bench.catalogues.receive("../../../a.csv", None).await.unwrap();
    receiving.write(PRODUCTS).await.unwrap();
    assert!(bench.files()[0].starts_with("catalog_"), "{:?}", bench.files());
    drop(receiving);
    bench.assert_nothing_is_left();
}

#[tokio::test]
async fn who_has_many_files_waiting_waits() {
    let bench = Bench::new().await;
    for n in 0..20 {
        bench.upload(&format!("{n}.csv"), b"name,price\nA,1\n").await.unwrap();
    }
    let error = refused(bench.upload("one-more.csv", PRODUCTS).await);
    assert!(matches!(error, UploadError::Busy { waiting: 20 }), "{error:?}");
    assert_eq!(bench.files().len(), 20);
    bench.work().await;
    bench.upload("one-more.csv", PRODUCTS).await.unwrap();
}

#[tokio::test]
async fn an_import_that_waits_is_cancelled_and_leaves_nothing() {
    let bench = Bench::new().await;
    let accepted = bench.upload("products.csv", PRODUCTS).await.unwrap();
    let cancelled = bench.catalogues.cancel(&bench.owner, &accepted.job, UnixMs(77)).await.unwrap();
    assert_eq!((cancelled.state, cancelled.ended), (State::Cancelled, Some(UnixMs(77))));
    bench.assert_nothing_is_left();
    bench.work().await;
    bench.assert_nothing_is_left();
    assert_eq!(bench.state_of(&accepted).await.state, State::Cancelled);
    let again = bench.catalogues.cancel(&bench.owner, &accepted.job, UnixMs(78)).await;
    assert!(matches!(again, Err(Error::Conflict(_))));
    let done = bench.import("products.csv", PRODUCTS).await;
    let late = bench.catalogues.cancel(&bench.owner, &done.job, UnixMs(79)).await;
    assert!(matches!(late, Err(Error::Conflict(_))));
}

#[tokio::test]
async fn an_import_is_cancelled_in_the_middle_and_leaves_nothing() {
    let asked = Arc::new(Notify::new());
    let embedder = Meanings { stalls: Mutex::new(Some(asked.clone())), ..Meanings::default() };
    let bench = Bench::with(Some(Arc::new(embedder))).await;
    let accepted = bench.upload("table.csv", &table(1_000)).await.unwrap();
    let running = bench.begin().await;
    asked.notified().await;
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.stage, import.progress), (State::Processing, Stage::Embedding, 30));
    assert_eq!(bench.names(Some("w777")).await, ["Thing 777"], "its words are found already");
    bench.catalogues.cancel(&bench.owner, &accepted.job, UnixMs(77)).await.unwrap();
    drop(running);
    bench.assert_nothing_is_left();
    assert!(bench.names(None).await.is_empty());
}

#[tokio::test]
async fn what_a_cancelled_import_still_writes_is_not_written() {
    let bench = Bench::new().await;
    let accepted = bench.upload("products.csv", PRODUCTS).await.unwrap();
    let number = bench.state_of(&accepted).await.number;
    bench.catalogues.cancel(&bench.owner, &accepted.job, UnixMs(77)).await.unwrap();
    let (store, now) = (&bench.store, UnixMs(78));
    assert!(!store.begin_stage(number, Stage::Chunking, 1, now).await.unwrap());
    assert!(!store.add_products(number, 1, Vec::new(), 1, now).await.unwrap());
    assert!(!store.add_chunks(number, &bench.owner, Vec::new(), 1, 1, now).await.unwrap());
    assert!(!store.add_vectors(number, "m".into(), 1, Vec::new(), 1, now).await.unwrap());
    assert!(!store.complete_import(number, Embeddings::Off, now).await.unwrap());
    bench.assert_nothing_is_left();
}

#[tokio::test]
async fn an_import_that_was_broken_off_goes_on_where_it_was() {
    for broken_off_in in [Stage::Parsing, Stage::Chunking, Stage::Embedding] {
        let embedder = Arc::new(Meanings::default());
        let bench = Bench::with(Some(embedder.clone())).await;
        let accepted = bench.upload("table.csv", &table(1_000)).await.unwrap();
        let number = bench.state_of(&accepted).await.number;
        // What an earlier process had done.
        let (store, now) = (bench.store.clone(), UnixMs(5));
        let path = bench.dir.path().join("catalogues").join(&accepted.catalogue);
        let rows = csv::Rows::open(&path).unwrap().map(Result::unwrap);
        let known = if broken_off_in == Stage::Parsing { 400 } else { 1_000 };
        store.begin_stage(number, Stage::Parsing, 0, now).await.unwrap();
        store.add_products(number, 1, rows.take(known).collect(), 5, now).await.unwrap();
        if broken_off_in != Stage::Parsing {
            store.begin_stage(number, Stage::Chunking, 15, now).await.unwrap();
            let known = if broken_off_in == Stage::Chunking { 300 } else { 1_000 };
            let products =
                store.products_to_chunk(&bench.state_of(&accepted).await, known).await.unwrap().into_iter();
            let chunks = products.map(|product| crate::store::NewChunks {
                product: product.number,
                position: 0,
                texts: vec![format!("{} was here", product.product.description)],
            });
            store.add_chunks(number, &bench.owner, chunks.collect(), known.into(), 20, now).await.unwrap();
        }
        if broken_off_in == Stage::Embedding {
            store.begin_stage(number, Stage::Embedding, 30, now).await.unwrap();
            let vectors = store.chunks_to_embed(number, 0, 600).await.unwrap().into_iter();
            let vectors = vectors.map(|(chunk, _)| (chunk, vectors::bytes_of(&[0.0; 64])));
            store.add_vectors(number, "meanings".into(), 64, vectors.collect(), 70, now).await.unwrap();
        }
        drop(store);
        let bench = bench.restarted(Some(embedder.clone())).await;
        bench.work().await;
        let import = bench.state_of(&accepted).await;
        assert_eq!((import.state, import.products, import.chunks), (State::Completed, 1_000, 1_000));
        assert_eq!(import.embeddings, Embeddings::Completed);
        for table in ["products", "chunks", "chunk_vectors"] {
            assert_eq!(bench.count(table), 1_000, "{broken_off_in:?}: {table}");
        }
        let embedded = embedder.embedded.lock().unwrap().len();
        assert_eq!(embedded, if broken_off_in == Stage::Embedding { 400 } else { 1_000 });
        for n in [300, 301, 400, 401, 600, 601, 1_000] {
            assert_eq!(bench.names(Some(&format!("w{n}"))).await.len(), 1, "{broken_off_in:?}: {n}");
        }
    }
}

#[tokio::test]
async fn a_document_that_was_broken_off_in_its_chunks_has_each_once() {
    let bench = Bench::new().await;
    let long: String = (0..3_000).map(|n| format!("Sentence w{n} says something. ")).collect();
    let whole = bench.import("long.txt", long.as_bytes()).await;
    let accepted = bench.upload("again.txt", long.as_bytes()).await.unwrap();
    let catalogue = bench.state_of(&accepted).await;
    let (store, now) = (bench.store.clone(), UnixMs(5));
    let (_, all) =
        bench.catalogues.product(&bench.owner, &bench.search("w1").await[0].product).await.unwrap();
    let product = ProductRow {
        name: "again".into(),
        description: "x".into(),
        price: None,
        currency: "USD".into(),
        sku: None,
        category: None,
        in_stock: true,
        metadata: Default::default(),
    };
    store.add_products(catalogue.number, 1, vec![product], 50, now).await.unwrap();
    store.begin_stage(catalogue.number, Stage::Chunking, 50, now).await.unwrap();
    let document = store.products_to_chunk(&catalogue, 1).await.unwrap().remove(0);
    let texts = all.iter().take(17).map(|chunk| chunk.content.clone()).collect();
    let chunks = vec![crate::store::NewChunks { product: document.number, position: 0, texts }];
    store.add_chunks(catalogue.number, &bench.owner, chunks, 0, 60, now).await.unwrap();
    bench.work().await;
    let again = bench.state_of(&accepted).await;
    assert_eq!((again.state, again.chunks), (State::Completed, whole.chunks));
    assert_eq!(bench.count("chunks"), whole.chunks * 2);
}

#[tokio::test]
async fn embeddings_find_what_no_word_does_and_both_are_fused() {
    let bench = Bench::with(Some(Arc::new(Meanings::default()))).await;
    let import = bench.import("products.csv", PRODUCTS).await;
    assert_eq!((import.embeddings, import.embedding_dimensions), (Embeddings::Completed, Some(64)));
    assert_eq!(import.embedding_model.as_deref(), Some("meanings"));
    let found = bench.search("rainproof jotter").await;
    assert!(found[0].product_name.starts_with("AquaGuard Notebook"), "{found:?}");
    assert_eq!(found[0].basis, Basis::Meaning);
    assert!(found.iter().all(|found| (0.0..=1.0).contains(&found.score)));
    let found = bench.search("a fountain jotter").await;
    assert!(found.iter().take(2).any(|found| found.product_name == "Fountain Pen"), "{found:?}");
    let whole = found[0].content.clone();
    let same = bench.search(&whole).await;
    assert!(same[0].content == whole && same[0].score > 0.99, "nothing is nearer than itself: {same:?}");
}

#[tokio::test]
async fn embeddings_that_fail_for_a_while_are_made_later() {
    let embedder = Meanings::failing(&[true, true]);
    let bench = Bench::with(Some(embedder.clone())).await;
    let accepted = bench.upload("products.csv", PRODUCTS).await.unwrap();
    bench.work_once().await;
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.embeddings), (State::Processing, Embeddings::Pending));
    assert_eq!(bench.names(None).await.len(), 4, "its products are shown all the same");
    bench.work().await;
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.embeddings), (State::Completed, Embeddings::Completed));
    assert_eq!(bench.count("chunk_vectors"), 4);
}

#[tokio::test]
async fn without_embeddings_words_find_everything() {
    for failures in [&[false][..], &[true; 50]] {
        let bench = Bench::with(Some(Meanings::failing(failures))).await;
        let accepted = bench.upload("products.csv", PRODUCTS).await.unwrap();
        bench.work().await;
        let import = bench.state_of(&accepted).await;
        assert_eq!((import.state, import.embeddings), (State::Completed, Embeddings::Failed));
        let found = bench.search("steel nib").await;
        assert_eq!((found[0].product_name.as_str(), found[0].basis), ("Fountain Pen", Basis::Words));
        assert_eq!(found[0].score, 1.0, "it has both words");
        assert!(bench.files().is_empty());
    }
}

#[tokio::test]
async fn a_question_whose_embedding_comes_too_late_is_answered_by_words() {
    let embedder = Arc::new(Meanings::default());
    let bench = Bench::with(Some(embedder.clone())).await;
    bench.import("products.csv", PRODUCTS).await;
    *embedder.stalls.lock().unwrap() = Some(Arc::default());
    let question = Question {
        owner: &bench.owner,
        text: "fountain pen",
        catalogue: None,
        limit: 1,
        ways: Ways::Both,
        embed_within: std::time::Duration::from_millis(20),
    };
    let found = bench.catalogues.search(question).await.unwrap();
    assert_eq!(
        (found.len(), found[0].product_name.as_str(), found[0].basis),
        (1, "Fountain Pen", Basis::Words)
    );
}

#[tokio::test]
async fn vectors_of_another_model_are_not_compared() {
    let bench = Bench::with(Some(Arc::new(Meanings::default()))).await;
    bench.import("products.csv", PRODUCTS).await;
    let other = Meanings { name: Some("another".into()), ..Meanings::default() };
    let bench = bench.restarted(Some(Arc::new(other))).await;
    let found = bench.search("steel nib").await;
    assert_eq!((found[0].product_name.as_str(), found[0].basis), ("Fountain Pen", Basis::Words));
    assert!(bench.search("rainproof jotter").await.is_empty());
}

#[tokio::test]
async fn a_deleted_product_is_gone_with_its_chunks() {
    let bench = Bench::with(Some(Arc::new(Meanings::default()))).await;
    let long: String = (0..5_000).map(|n| format!("Sentence w{n} says something. ")).collect();
    bench.import("long.txt", long.as_bytes()).await;
    let import = bench.import("products.csv", PRODUCTS).await;
    let document = bench.search("w4999").await[0].product.clone();
    let (shown, chunks) = bench.catalogues.product(&bench.owner, &document).await.unwrap();
    assert!(chunks.len() as u32 <= shown.chunks && shown.chunks > 150);
    assert_eq!(bench.catalogues.remove_product(&bench.owner, &document).await.unwrap(), shown.chunks);
    let again = bench.catalogues.remove_product(&bench.owner, &document).await;
    assert!(matches!(again, Err(Error::NotFound("Product"))));
    assert!(bench.search("w4999").await.iter().all(|found| found.catalogue == import.id));
    assert_eq!((bench.count("products"), bench.count("chunks"), bench.count("chunk_vectors")), (4, 4, 4));
    assert_eq!(bench.names(None).await.len(), 4);
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept_away_and_what_it_needs_stays() {
    let bench = Bench::new().await;
    let done = bench.import("products.csv", PRODUCTS).await;
    let product = bench.catalogues.products(&bench.owner, None, None, 1, 1).await.unwrap().products.remove(0);
    bench.store.hide_product(&bench.owner, &product.id).await.unwrap();
    let waiting = bench.upload("store.txt", STORE).await.unwrap();
    let lost = bench.upload("table.csv", &table(300)).await.unwrap();
    let rows = csv::Rows::new(&table(300)[..]).unwrap().map(Result::unwrap).collect();
    let number = bench.state_of(&lost).await.number;
    bench.store.add_products(number, 1, rows, 5, UnixMs(5)).await.unwrap();
    bench.store.cancel_import(&bench.owner, &lost.job, UnixMs(6)).await.unwrap();
    let folder = bench.dir.path().join("catalogues");
    std::fs::write(folder.join("catalog_gone.part"), "half a file").unwrap();
    std::fs::write(folder.join(format!("{}.text", done.id)), "a text").unwrap();
    std::fs::write(folder.join(format!("{}.text", waiting.catalogue)), "a text").unwrap();

    let bench = bench.restarted(None).await;
    let mut files = bench.files();
    files.sort();
    assert_eq!(files, [waiting.catalogue.clone(), format!("{}.text", waiting.catalogue)]);
    assert_eq!(bench.count("products"), 3);
    bench.work().await;
    assert_eq!(bench.state_of(&waiting).await.state, State::Completed);
    assert!(bench.files().is_empty());
    assert!(
        bench.search("may a notebook be returned").await.iter().any(|f| f.catalogue == waiting.catalogue)
    );
}

#[tokio::test]
async fn an_import_that_cannot_be_done_fails_with_why_and_leaves_nothing() {
    let bench = Bench::new().await;
    let scan = include_bytes!("../../../../fixtures/catalogue/scan.pdf");
    let bomb = include_bytes!("../../../../fixtures/catalogue/bomb.pdf");
    for (bytes, wanted) in [(scan.as_slice(), "no text"), (bomb, "too large")] {
        let import = bench.import("a.pdf", bytes).await;
        assert_eq!(import.state, State::Failed);
        assert!(import.reason.as_ref().unwrap().contains(wanted), "{import:?}");
        bench.assert_nothing_is_left();
    }
    let accepted = bench.upload("products.csv", PRODUCTS).await.unwrap();
    std::fs::remove_file(bench.dir.path().join("catalogues").join(&accepted.catalogue)).unwrap();
    bench.work().await;
    let import = bench.state_of(&accepted).await;
    assert_eq!((import.state, import.reason.as_deref()), (State::Failed, Some("the file is gone")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_bytes_are_imported_or_leave_nothing(
        kind in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let (name, start) = [("a.csv", "name,price\n"), ("a.pdf", "%PDF-1.4\n"), ("a.txt", "")][kind];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            if let Ok(accepted) = bench.upload(name, &[start.as_bytes(), &bytes].concat()).await {
                bench.work().await;
                assert!(bench.state_of(&accepted).await.state.is_over());
                assert!(bench.files().is_empty());
            } else {
                bench.assert_nothing_is_left();
            }
        });
    }
}
