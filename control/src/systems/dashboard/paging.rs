//! Which part of a list is wanted: `limit` and `offset`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::domain::lines::Page;
use crate::server::App;
use crate::systems::error::ApiError;

/// The most items of one answer, and how many there are where nothing is said.
pub(super) const LIMIT: u32 = 1_000;

/// As the document tells of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "this is for the document; the values are read by Paging")]
pub(super) struct PageParams {
    /// At most so many items, from 1; more than 1000 counts as 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
    /// So many items are left out first.
    #[param(minimum = 0, default = 0)]
    offset: Option<u32>,
}

/// The part of a list that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging(pub(super) Page);

impl FromRequestParts<Arc<App>> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn read(query: &str) -> Result<Page, ApiError> {
    let mut page = Page { limit: Some(LIMIT), offset: 0 };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => page.limit = Some(limit(&value)?),
            "offset" => {
                page.offset = number(&value)
                    .ok_or_else(|| ApiError::invalid("offset must be a whole number from 0"))?;
            }
            _ => {}
        }
    }
    Ok(page)
}

/// A limit, at most [`LIMIT`].
pub(super) fn limit(text: &str) -> Result<u32, ApiError> {
    let limit = number(text).filter(|limit| *limit > 0);
    let limit = limit.ok_or_else(|| ApiError::invalid("limit must be a whole number from 1 to 1000"))?;
    Ok(limit.min(LIMIT))
}

/// A whole number; one that is too large for us is as large as can be.
fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_asked_for_within_bounds() {
        let page = |limit, offset| Page { limit: Some(limit), offset };
        for (query, wanted) in [
            ("", page(1_000, 0)),
            ("limit=10&offset=20", page(10, 20)),
            ("limit=5000", page(1_000, 0)),
            ("limit=99999999999999999999", page(1_000, 0)),
            ("offset=99999999999999999999&else=x", page(1_000, u32::MAX)),
        ] {
            assert_eq!(read(query).unwrap(), wanted, "{query}");
        }
        for query in
            ["limit=0", "limit=-1", "limit=", "limit=ten", "limit=1.5", "offset=-1", "offset=x", "offset="]
        {
            assert_eq!(read(query).unwrap_err().status, 400, "{query}");
        }
    }
}
