//! Products: files of them, and what stands in them.

use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::paging::{PageParams, Paging};
use crate::domain::catalogue::{Accepted, Embeddings, FILE_BYTES_MAX, Product, Receiving, UploadError};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;

/// The longest name of a catalogue, in characters.
const NAME_MAX: usize = 200;
/// A form may be so long: a file, and what is around it.
pub(super) const FORM_BYTES_MAX: usize = FILE_BYTES_MAX as usize + 64 * 1024;
/// How many parts of a form are looked at.
const PARTS_MAX: usize = 16;

/// A file of products.
#[derive(ToSchema)]
#[expect(dead_code, reason = "this is for the document; the parts are read by name")]
pub(super) struct Upload {
    /// CSV, PDF or plain text, at most 50 MB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Default: what the file is called.
    catalog_name: Option<String>,
}

/// That a file is being read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "job_id": "job_products_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "catalog_id": "catalog_0198c1d2e3f47a5b8c6d7e8f90a1b2c3",
    "status": "pending", "file_name": "product_catalog.csv", "file_size_bytes": 524288, "estimated_completion_seconds": 60,
})))]
pub(super) struct Started {
    job_id: String,
    catalog_id: String,
    status: &'static str,
    file_name: String,
    file_size_bytes: u64,
    estimated_completion_seconds: u64,
}

/// A part of the products.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "products": [{
        "id": "prod_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "name": "Eco-Friendly Notebook A5", "description": "120 pages",
        "price": 12.99, "currency": "USD", "sku": "NB-A5-ECO", "category": "Stationery", "in_stock": true,
        "metadata": { "color": "Green" }, "catalog_id": "catalog_0198c1d2e3f47a5b8c6d7e8f90a1b2c3",
        "created_at": "2025-02-18T10:00:00Z",
    }],
    "pagination": { "page": 1, "limit": 50, "total_products": 1, "total_pages": 1 },
})))]
pub(super) struct Products {
    #[schema(value_type = Vec<Object>)]
    products: Vec<Value>,
    #[schema(inline)]
    pagination: Pagination,
}

#[derive(Debug, Serialize, ToSchema)]
struct Pagination {
    page: u32,
    limit: u32,
    total_products: u64,
    total_pages: u64,
}

/// That a product is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "deleted_product_id": "prod_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "deleted_chunks": 3,
})))]
pub(super) struct Deleted {
    success: bool,
    deleted_product_id: String,
    deleted_chunks: u32,
}

/// Upload a file of products
///
/// It is looked at before it is accepted: what is no such file, or cannot be read, is refused at once.
#[utoipa::path(
    post,
    path = "/api/products/upload",
    tag = "products",
    request_body(content = Upload, content_type = "multipart/form-data"),
    responses(
        (status = 202, body = Started),
        (status = 400, description = "There is no file, or it is none of these kinds, or lies about its kind"),
        (status = 413, description = "The file is larger than 50 MB"),
        (status = 422, description = "The file cannot be read: `details.lines` says where")
    )
)]
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Started>), ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        let told = "The body must be multipart/form-data, and its Content-Type must say so";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| ApiError::invalid("The form's Content-Type names no boundary"))?;
    let (mut received, mut name) = (None, None);
    let mut parts = 0;
    while let Some(part) = form.next_field().await.map_err(broken)? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(ApiError::invalid("The form has too many parts"));
        }
        match part.name() {
            Some("file") if received.is_none() => received = Some(receive(&app, part).await?),
            Some("file") => return Err(ApiError::invalid("Only one file can be uploaded at a time")),
            Some("catalog_name") => name = Some(text(part).await?),
            // What is not known is passed over.
            _ => drop(part),
        }
    }
    let file = received.ok_or_else(|| ApiError::missing("file"))?;
    let accepted = app.catalogues.accept(caller.id(), file, name.as_deref(), UnixMs::now()).await;
    let Accepted { job, catalogue, file_name, file_bytes, estimated_seconds } = accepted.map_err(refused)?;
    let started = Started {
        job_id: job,
        catalog_id: catalogue,
        status: "pending",
        file_name,
        file_size_bytes: file_bytes,
        estimated_completion_seconds: estimated_seconds,
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// The products
#[utoipa::path(
    get,
    path = "/api/products",
    tag = "products",
    params(PageParams, ("catalog_id" = Option<String>, Query, description = "Those of this catalogue alone")),
    responses((status = 200, body = Products), (status = 400, description = "page or limit is no positive integer"))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    paging: Paging,
    request: Request,
) -> Result<Json<Products>, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let catalogue = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "catalog_id");
    let catalogue = catalogue.map(|(_, id)| id.into_owned()).filter(|id| !id.is_empty());
    let (search, Paging { page, limit, .. }) = (paging.search.as_deref(), &paging);
    let found = app.catalogues.products(caller.id(), search, catalogue.as_deref(), *page, *limit).await?;
    let total = u64::from(found.total);
    let pagination =
        Pagination { page: *page, limit: *limit, total_products: total, total_pages: paging.pages(total) };
    let products = found.products.into_iter().map(|product| Value::Object(shown(product))).collect();
    Ok(Json(Products { products, pagination }))
}

/// A product, with what is said of it
#[utoipa::path(
    get,
    path = "/api/products/{product_id}",
    tag = "products",
    params(("product_id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "There is no such product"))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(product_id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (product, chunks) = app.catalogues.product(caller.id(), &product_id).await.map_err(told)?;
    let status = match product.embeddings {
        // Nobody makes any here: nothing more comes.
        Embeddings::Off => Embeddings::Completed,
        status => status,
    };
    let chunks: Vec<Value> = chunks
        .into_iter()
        .map(|chunk| json!({ "id": format!("chunk_{}", chunk.id), "content": chunk.content, "chunk_index": chunk.position }))
        .collect();
    let mut shown = shown(product);
    shown.insert("chunks".into(), chunks.into());
    shown.insert("embedding_status".into(), status.as_str().into());
    Ok(Json(Value::Object(shown)))
}

/// Delete a product
#[utoipa::path(
    delete,
    path = "/api/products/{product_id}",
    tag = "products",
    params(("product_id" = String, Path)),
    responses((status = 200, body = Deleted), (status = 404, description = "There is no such product"))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(product_id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    let deleted_chunks = app.catalogues.remove_product(caller.id(), &product_id).await.map_err(told)?;
    Ok(Json(Deleted { success: true, deleted_product_id: product_id, deleted_chunks }))
}

/// Takes a file as it comes.
async fn receive(app: &App, mut part: Field<'_>) -> Result<Receiving, ApiError> {
    let (name, kind) = (part.file_name().map(str::to_owned), part.content_type().map(str::to_owned));
    let name = name.ok_or_else(|| ApiError::bad_parameter("file", "file"))?;
    let mut file = app.catalogues.receive(&name, kind.as_deref()).await.map_err(refused)?;
    while let Some(bytes) = part.chunk().await.map_err(broken)? {
        file.write(&bytes).await.map_err(refused)?;
    }
    Ok(file)
}

/// A short text of a form.
async fn text(mut part: Field<'_>) -> Result<String, ApiError> {
    let wrong = || ApiError::bad_parameter("catalog_name", "string of at most 200 characters");
    let mut bytes = Vec::new();
    while let Some(more) = part.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&more);
        if bytes.len() > 4 * NAME_MAX {
            return Err(wrong());
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?.trim().to_owned();
    let is_good = text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control);
    if is_good { Ok(text) } else { Err(wrong()) }
}

/// A form that is none, or broke off.
fn broken(error: MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "The file is larger than 50 MB")
        }
        _ => ApiError::invalid("The form cannot be read, or broke off"),
    }
}

fn refused(error: UploadError) -> ApiError {
    let message = error.to_string();
    match error {
        UploadError::WrongType(_) => ApiError::invalid(message),
        UploadError::TooLarge { limit } => {
            let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "The file is larger than 50 MB");
            ApiError { details: json!({ "limit_bytes": limit }), ..error }
        }
        UploadError::Unreadable(unreadable) => {
            let lines: Vec<Value> = unreadable
                .lines
                .iter()
                .map(|line| json!({ "line": line.line, "message": line.message }))
                .collect();
            let details = json!({ "lines": lines, "wrong_lines": unreadable.wrong_lines });
            ApiError { details, ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message) }
        }
        UploadError::Busy { .. } => ApiError::new(StatusCode::CONFLICT, message),
        UploadError::Store(error) => error.into(),
        UploadError::Disk(error) => {
            tracing::error!(%error, "a file that is uploaded cannot be kept");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
        }
    }
}

fn shown(product: Product) -> Map<String, Value> {
    let Product { id, catalogue, product: row, created, .. } = product;
    let shown = json!({
        "id": id,
        "name": row.name,
        "description": row.description,
        // A text has none.
        "price": row.price.unwrap_or(0.0),
        "currency": row.currency,
        "sku": row.sku,
        "category": row.category,
        "in_stock": row.in_stock,
        "metadata": row.metadata,
        "catalog_id": catalogue,
        "created_at": created.to_seconds_text(),
    });
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}
