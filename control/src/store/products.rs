//! Products of catalogues.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::chunks::{Scope, match_all};
use super::{Store, StoreError, catalogue};
use crate::domain::catalogue::{Catalogue, Chunk, Embeddings, Product, ProductQuery, ProductRow, Products};
use crate::domain::error::Error;
use crate::domain::time::UnixMs;

/// Chunks of a product that are shown with it. A document may have tens of thousands.
const CHUNKS_SHOWN: i64 = 500;
/// Chunks that are removed at once.
const REMOVED_AT_ONCE: i64 = 100;

/// A product that is to be cut into chunks.
#[derive(Clone, Debug)]
pub struct ToChunk {
    /// The database's number of it.
    pub number: i64,
    /// Its place in the file, from 1.
    pub row: i64,
    /// How many chunks it has already.
    pub chunks: u32,
    /// What the file says of it.
    pub product: ProductRow,
}

impl Store {
    /// Writes products of a catalogue down, which stand in the file from row `first_row` on. False: they are not wanted any
    /// more.
    pub async fn add_products(
        &self,
        catalogue: i64,
        first_row: i64,
        products: Vec<ProductRow>,
        progress: u8,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            if !catalogue::is_wanted(connection, catalogue)? {
                return Ok(false);
            }
            for (row, product) in (first_row..).zip(&products) {
                insert(connection, catalogue, row, product, now)?;
            }
            connection
                .prepare_cached(
                    "UPDATE catalogues SET products = products + ?2, progress = ?3, updated_ms = ?4 WHERE number = ?1",
                )?
                .execute(params![catalogue, products.len() as i64, progress, now.0])?;
            Ok(true)
        })
        .await
    }

    /// The next products of a catalogue that are to be cut into chunks.
    pub async fn products_to_chunk(&self, of: &Catalogue, most: u32) -> Result<Vec<ToChunk>, StoreError> {
        let (catalogue, after) = (of.number, of.chunked_row);
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM products WHERE catalogue = ?1 AND row > ?2 ORDER BY row LIMIT ?3",
                )?
                .query_map(params![catalogue, after, most], |row| {
                    Ok(ToChunk {
                        number: row.get("number")?,
                        row: row.get("row")?,
                        chunks: row.get("chunks")?,
                        product: product_row(row)?,
                    })
                })?
                .collect()
        })
        .await
    }

    /// A page of an owner's products, those that are found first if they are searched.
    pub async fn products(&self, owner: &str, query: ProductQuery) -> Result<Products, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| list(connection, &owner, &query)).await
    }

    /// An owner's product with its chunks.
    pub async fn product(&self, owner: &str, id: &str) -> Result<(Product, Vec<Chunk>), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let found = self
            .read(move |connection| {
                let Some((number, product)) = find(connection, &owner, &id)? else { return Ok(None) };
                let chunks = connection
                    .prepare_cached("SELECT * FROM chunks WHERE product = ?1 ORDER BY position LIMIT ?2")?
                    .query_map([number, CHUNKS_SHOWN], |row| {
                        Ok(Chunk {
                            id: row.get("id")?,
                            position: row.get("position")?,
                            content: row.get("content")?,
                        })
                    })?
                    .collect::<Result<_, _>>()?;
                Ok(Some((product, chunks)))
            })
            .await?;
        found.ok_or(Error::NotFound("Product"))
    }

    /// An owner's product is not shown and not found from here on. Gives its number, and how many chunks it has.
    pub async fn hide_product(&self, owner: &str, id: &str) -> Result<(i64, u32), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let hidden = self
            .change(move |connection| {
                let Some((number, product)) = find(connection, &owner, &id)? else { return Ok(None) };
                connection
                    .prepare_cached("UPDATE products SET removed = 1 WHERE number = ?1")?
                    .execute([number])?;
                connection
                    .prepare_cached(
                        "UPDATE catalogues SET products = products - 1, chunks = chunks - ?2
                         WHERE number = (SELECT catalogue FROM products WHERE number = ?1)",
                    )?
                    .execute(params![number, product.chunks])?;
                Ok(Some((number, product.chunks)))
            })
            .await?;
        hidden.ok_or(Error::NotFound("Product"))
    }

    /// Removes some of what is left of a product that was hidden. False: nothing is left.
    pub async fn remove_some_of_product(&self, number: i64) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let chunks = connection
                .prepare_cached(
                    "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE product = ?1 LIMIT ?2)",
                )?
                .execute([number, REMOVED_AT_ONCE])?;
            if chunks > 0 {
                return Ok(true);
            }
            connection
                .prepare_cached("DELETE FROM products WHERE number = ?1 AND removed = 1")?
                .execute([number])?;
            Ok(false)
        })
        .await
    }

    /// Products that were hidden and are not yet removed.
    pub async fn products_to_remove(&self) -> Result<Vec<i64>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT number FROM products WHERE removed = 1")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .await
    }
}

fn insert(
    connection: &Connection,
    catalogue: i64,
    row: i64,
    product: &ProductRow,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let ProductRow { name, description, price, currency, sku, category, in_stock, metadata } = product;
    connection
        .prepare_cached(
            "INSERT INTO products (id, catalogue, row, name, description, price, currency, sku, category, in_stock, metadata,
                 chunks, removed, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, ?12)",
        )?
        .execute(params![
            format!("prod_{}", Uuid::now_v7().simple()),
            catalogue,
            row,
            name,
            description,
            price,
            currency,
            sku,
            category,
            in_stock,
            Value::Object(metadata.clone()).to_string(),
            now.0,
        ])
        .map(drop)
}

const SHOWN: &str = "FROM catalogues JOIN products ON products.catalogue = catalogues.number
     WHERE catalogues.owner = ?1 AND catalogues.searchable = 1 AND products.removed = 0
         AND (?2 IS NULL OR catalogues.id = ?2)";

const COLUMNS: &str = "products.*, catalogues.id AS catalogue_id, catalogues.embeddings AS embeddings";

fn list(connection: &Connection, owner: &str, query: &ProductQuery) -> rusqlite::Result<Products> {
    let mut found = None;
    if let Some(words) = &query.words {
        let scope = Scope::of(connection, owner, query.catalogue.as_deref())?;
        let Some(expression) = scope.and_then(|scope| match_all(&scope, words)) else {
            return Ok(Products::default());
        };
        found = Some(expression);
    }
    let (with, from, order) = match found {
        None => ("", SHOWN.to_owned(), "catalogues.number, products.row"),
        // Ranks are known only where the index is searched, so that is done by itself.
        Some(_) => (
            "WITH ranked AS MATERIALIZED (SELECT rowid AS chunk, rank FROM chunk_words WHERE chunk_words MATCH ?3
                 AND rank MATCH 'bm25(0.0, 1.0)'),
             found AS MATERIALIZED (SELECT chunks.product AS product, min(ranked.rank) AS rank
                 FROM ranked JOIN chunks ON chunks.id = ranked.chunk GROUP BY chunks.product)",
            SHOWN.replace("WHERE", "JOIN found ON found.product = products.number WHERE"),
            "found.rank, products.number",
        ),
    };
    let mut values: Vec<&dyn ToSql> = vec![&owner, &query.catalogue];
    values.extend(found.as_ref().map(|expression| expression as &dyn ToSql));
    let total = connection
        .prepare(&format!("{with} SELECT count(*) {from}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let (limit, offset) = (query.limit, query.offset);
    let products = connection
        .prepare(&format!("{with} SELECT {COLUMNS} {from} ORDER BY {order} LIMIT {limit} OFFSET {offset}"))?
        .query_map(params_from_iter(&values), product_from_row)?
        .collect::<Result<_, _>>()?;
    Ok(Products { products, total })
}

fn find(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Option<(i64, Product)>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} {SHOWN} AND products.id = ?3"))?
        .query_row(params![owner, None::<String>, id], |row| Ok((row.get("number")?, product_from_row(row)?)))
        .optional()
}

fn product_from_row(row: &Row<'_>) -> rusqlite::Result<Product> {
    let embeddings = Embeddings::named(&row.get::<_, String>("embeddings")?);
    Ok(Product {
        id: row.get("id")?,
        catalogue: row.get("catalogue_id")?,
        product: product_row(row)?,
        chunks: row.get("chunks")?,
        embeddings: embeddings.unwrap_or(Embeddings::Off),
        created: UnixMs(row.get("created_ms")?),
    })
}

fn product_row(row: &Row<'_>) -> rusqlite::Result<ProductRow> {
    let metadata: String = row.get("metadata")?;
    Ok(ProductRow {
        name: row.get("name")?,
        description: row.get("description")?,
        price: row.get("price")?,
        currency: row.get("currency")?,
        sku: row.get("sku")?,
        category: row.get("category")?,
        in_stock: row.get("in_stock")?,
        metadata: serde_json::from_str::<Map<String, Value>>(&metadata).unwrap_or_default(),
    })
}
