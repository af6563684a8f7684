//! Which part of a list is wanted: `limit` and `offset`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::domain::lines::Page;
use crate::server::App;
use crate::systems::error::ApiError;

/// The most items of one answer where a limit is asked for.
const LIMIT_MAX: u32 = 100;

/// As the document tells of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "this is for the document; the values are read by Paging")]
pub(super) struct PageParams {
    /// At most so many items, from 1; more than 100 counts as 100.
    #[param(minimum = 1, maximum = 100)]
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
    let mut page = Page::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => {
                let limit = number(&value).filter(|limit| *limit > 0);
                let limit =
                    limit.ok_or_else(|| ApiError::invalid("limit must be a whole number from 1 to 100"))?;
                page.limit = Some(limit.min(LIMIT_MAX));
            }
            "offset" => {
                let offset = number(&value);
                page.offset =
                    offset.ok_or_else(|| ApiError::invalid("offset must be a whole number from 0"))?;
            }
            _ => {}
        }
    }
    Ok(page)
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
        let page = |limit, offset| Page { limit, offset };
        for (query, wanted) in [
            ("", page(None, 0)),
            ("limit=10&offset=20", page(Some(10), 20)),
            ("limit=1000", page(Some(100), 0)),
            ("limit=99999999999999999999", page(Some(100), 0)),
            ("offset=99999999999999999999&else=x", page(None, u32::MAX)),
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
