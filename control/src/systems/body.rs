//! A request's body, read whole within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::error::ApiError;

/// How long a body may take to come in.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What is read, and thrown away, of a body that is too large: most clients look at the answer only once they have sent all.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads a body of at most `bytes_max` bytes.
///
/// A larger one is refused as soon as that is known. What is still to come is then read aside, so that the client gets to its
/// answer instead of a broken connection; one that asked first (`Expect: 100-continue`) is not invited to send it.
pub(super) async fn read(headers: &HeaderMap, mut body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let too_large =
        || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {bytes_max} bytes"));
    if body.size_hint().lower() > bytes_max as u64 {
        if !headers.contains_key(header::EXPECT) {
            tokio::spawn(discard(body));
        }
        return Err(too_large());
    }
    match tokio::time::timeout(TIME_MAX, collect(&mut body, bytes_max)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            tokio::spawn(discard(body));
            Err(too_large())
        }
        Ok(Err(_)) => Err(ApiError::invalid("The body broke off")),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "The body took more than 10 s")),
    }
}

/// The bytes of a body; none if they are too many.
async fn collect(body: &mut Body, bytes_max: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are of no interest.
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

async fn discard(mut body: Body) {
    let reading = async {
        let mut read = 0;
        while read < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, |data| data.len());
        }
    };
    let _ = tokio::time::timeout(TIME_MAX, reading).await;
}
