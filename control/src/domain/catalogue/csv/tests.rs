use proptest::prelude::*;

use super::*;

fn table(bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn products(bytes: impl AsRef<[u8]>) -> Vec<ProductRow> {
    let (_dir, path) = table(bytes);
    Rows::open(&path).unwrap().map(Result::unwrap).collect()
}

fn wrong(bytes: impl AsRef<[u8]>) -> Unreadable {
    let (_dir, path) = table(bytes);
    check(&path).unwrap().unwrap_err()
}

fn lines(wrong: &Unreadable) -> Vec<(u64, &str)> {
    wrong.lines.iter().map(|line| (line.line, line.message.as_str())).collect()
}

const WHOLE: &str = "\
name,description,price,currency,sku,category,in_stock,Color,size
Eco-Friendly Notebook A5,\"100% recycled paper, 120 pages\",12.99,usd,NB-A5-ECO,Stationery,true,Green,A5

\"Pen \"\"Blue\"\"\",\"Two
lines\",$1.50,,,,no,,
,,,,,,,,
";

#[test]
fn a_row_is_a_product_and_other_columns_are_its_metadata() {
    let found = products(WHOLE);
    assert_eq!(found.len(), 2, "empty rows are passed over");
    let ProductRow { name, description, price, currency, sku, category, in_stock, metadata } = &found[0];
    assert_eq!(
        (name.as_str(), description.as_str()),
        ("Eco-Friendly Notebook A5", "100% recycled paper, 120 pages")
    );
    assert_eq!((*price, currency.as_str(), *in_stock), (Some(12.99), "USD", true));
    assert_eq!((sku.as_deref(), category.as_deref()), (Some("NB-A5-ECO"), Some("Stationery")));
    assert_eq!(Value::from(metadata.clone()), serde_json::json!({"Color": "Green", "size": "A5"}));
    assert_eq!((found[1].name.as_str(), found[1].description.as_str()), ("Pen \"Blue\"", "Two\nlines"));
    assert_eq!((found[1].price, found[1].currency.as_str(), found[1].in_stock), (Some(1.5), "USD", false));
    assert_eq!((&found[1].sku, found[1].metadata.len()), (&None, 0));
}

#[test]
fn a_table_is_read_whatever_parts_its_columns_and_whatever_it_is_in() {
    for text in [
        "name;price\nA;12,50\n",
        "name\tprice\nA\t12.50\n",
        "Name,Price\r\nA,12.50\r\n",
        "\"price\",\"name\"\n12.5,A",
        "\r\n\r\nname,price\r\nA,12.5",
        "name,price\rA,12.5\r",
    ] {
        let found = products(text);
        assert_eq!((found[0].name.as_str(), found[0].price, found.len()), ("A", Some(12.5), 1), "{text:?}");
    }
    let text = "name,price,note\nCafé Zürich,3,schön für größere Büros\n";
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    let (windows, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    let with_bom = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for bytes in [with_bom, windows.to_vec(), [0xff, 0xfe].into_iter().chain(units).collect()] {
        assert_eq!(products(&bytes)[0].name, "Café Zürich");
        assert_eq!(products(&bytes)[0].metadata["note"], "schön für größere Büros");
    }
}

#[test]
fn what_looks_like_a_formula_is_a_text() {
    let found = products(
        "name,price,sku,note\n=HYPERLINK(\"\"x\"\"),1,+1-2,@SUM(A1)\n-x,2,=1+1,\"=cmd|'/c calc'!A0\"\n",
    );
    assert_eq!(found[0].sku.as_deref(), Some("+1-2"));
    assert_eq!(found[0].metadata["note"], "@SUM(A1)");
    assert_eq!((found[1].name.as_str(), found[1].sku.as_deref()), ("-x", Some("=1+1")));
    assert_eq!(found[1].metadata["note"], "=cmd|'/c calc'!A0");
    let told = wrong("name,price\nA,=1+1\n");
    assert!(told.lines[0].message.contains("price must be a number"), "{told:?}");
}

#[test]
fn a_wrong_header_says_what_it_lacks() {
    for (text, wanted) in [
        ("title,cost\nA,1\n", "no column called name"),
        ("name,cost\nA,1\n", "no column called price"),
        ("name,price,Name\nA,1,B\n", "two columns called Name"),
        ("name,price,\nA,1,\n", "column 3 of the header has no name"),
        ("", "empty"),
        ("\n\n", "empty"),
    ] {
        let told = wrong(text);
        assert_eq!((told.lines[0].line, told.reason.as_str()), (1, "the header is wrong"), "{text:?}");
        assert!(told.lines[0].message.contains(wanted), "{text:?}: {told:?}");
    }
    let many = format!("name,price,{}\n", (0..300).map(|n| format!("c{n}")).collect::<Vec<_>>().join(","));
    assert!(wrong(many).lines[0].message.contains("302 columns"));
    assert!(wrong("name,price\n").reason.contains("no rows"));
}

#[test]
fn every_row_that_is_no_product_is_told_with_its_line() {
    let told = wrong("name,price\nA,1\nB\n\"C\nC\",2,3\nD,4\n,5\nE,\nF,six\n");
    let wanted = [
        (3, "has 1 value where the header has 2"),
        (4, "has 3 values where the header has 2"),
        (7, "name is empty"),
        (8, "price is empty"),
        (9, "price must be a number from 0, such as 12.99, not \"six\""),
    ];
    assert_eq!(lines(&told), wanted);
    assert_eq!((told.wrong_lines, told.reason.as_str()), (5, "5 rows are no products"));
    for text in ["name,price\r\nA,1\r\n\r\n\"B\r\nB\",2\r\nC\r\n", "name,price\nA,1\n\n\"B\nB\",2\nC\n"] {
        assert_eq!(lines(&wrong(text)), [(6, "has 1 value where the header has 2")], "{text:?}");
    }
    let many = wrong(format!("name,price\n{}", "A\n".repeat(1_000)));
    assert_eq!((many.lines.len(), many.wrong_lines), (TOLD_MAX, 1_000));
}

#[test]
fn a_quote_that_is_left_open_is_told_with_the_line_where_its_row_begins() {
    for text in ["name,price,note\nA,1,x\nB,2,\"open\nC,3,x\n", "name,price,note\nA,1,x\nB,2,\"open"] {
        assert_eq!(lines(&wrong(text)), [(3, "a quote (\") is opened and never closed")], "{text:?}");
    }
    assert!(wrong("name,\"price\nA,1\n").wrong_lines > 0);
}

#[test]
fn the_mark_of_the_end_may_stand_in_a_table_too() {
    let told = wrong(format!("name,price\nA,1\n{END}\nB,2\n"));
    assert!(!told.reason.is_empty());
    let told = wrong(format!("name,price\nA{END},1\n"));
    assert_eq!(told.lines.len(), 1, "{told:?}");
}

#[test]
fn values_and_tables_have_an_end() {
    let told = wrong(format!("name,price,note\nA,1,{}\n", "x".repeat(40_000)));
    assert!(told.lines[0].message.contains("32767"), "{told:?}");
    let told = wrong(format!("name,price\n{},1\n", "x".repeat(501)));
    assert!(told.lines[0].message.contains("longer than 500"), "{told:?}");
    let told = wrong(format!("name,price\n{}", "A,1\n".repeat(ROWS_MAX as usize + 1)));
    assert!(told.reason.contains("200000 rows"), "{told:?}");
    let told = wrong("name,price\nA\u{0}B,1\n");
    assert!(told.lines[0].message.contains("control characters"), "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_dir, path) = table(&bytes);
        let _ = check(&path).unwrap();
    }

    #[test]
    fn any_text_below_a_header_is_a_table_or_an_error(rows in "[a,1\"\n\r;= \u{e9}\u{1e}\u{0}]{0,80}") {
        let (_dir, path) = table(format!("name,price\n{rows}"));
        match check(&path).unwrap() {
            Ok(count) => prop_assert_eq!(Rows::open(&path).unwrap().map(Result::unwrap).count(), count as usize),
            Err(told) => prop_assert!(!told.reason.is_empty()),
        }
    }
}
