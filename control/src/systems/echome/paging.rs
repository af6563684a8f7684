//! Which part of a list is wanted: `page`, `limit` and `search`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::domain::lines::Page;
use crate::server::App;
use crate::systems::error::ApiError;

/// How many there are on a page where nothing is said.
const LIMIT: u32 = 50;

/// The most that there are on a page.
const LIMIT_MAX: u32 = 200;

/// What is searched for is no longer, in characters.
const SEARCH_MAX: usize = 200;

/// As the document tells of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "this is for the document; the values are read by Paging")]
pub(super) struct PageParams {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// How many on a page, from 1; more than 200 counts as 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Those alone in which this stands.
    search: Option<String>,
}

/// The part of a list that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) page: u32,
    pub(super) limit: u32,
    pub(super) search: Option<String>,
}

impl Paging {
    pub(super) fn part(&self) -> Page {
        Page { limit: Some(self.limit), offset: (self.page - 1).saturating_mul(self.limit) }
    }

    /// How many pages there are of so many things.
    pub(super) fn pages(&self, total: u64) -> u64 {
        total.div_ceil(self.limit.into())
    }
}

impl FromRequestParts<Arc<App>> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        read(parts.uri.query().unwrap_or_default())
    }
}

fn read(query: &str) -> Result<Paging, ApiError> {
    let mut paging = Paging { page: 1, limit: LIMIT, search: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "page" => paging.page = number("page", &value)?,
            "limit" => paging.limit = number("limit", &value)?.min(LIMIT_MAX),
            "search" if value.chars().count() > SEARCH_MAX => {
                return Err(ApiError::bad_parameter("search", "a text of at most 200 characters"));
            }
            "search" => paging.search = Some(value.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => {}
        }
    }
    Ok(paging)
}

/// A whole number from 1; one that is too large for us is as large as can be.
fn number(name: &str, text: &str) -> Result<u32, ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(u32::MAX)).filter(|number| *number > 0);
    number.ok_or_else(|| ApiError::bad_parameter(name, "positive integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_within_bounds() {
        for (query, page, limit, search) in [
            ("", 1, 50, None),
            ("page=3&limit=10", 3, 10, None),
            ("limit=1000&search=%20a+b%20", 1, 200, Some("a b")),
            ("page=99999999999999999999", u32::MAX, 50, None),
        ] {
            let paging = Paging { page, limit, search: search.map(str::to_owned) };
            assert_eq!(read(query).unwrap(), paging, "{query}");
            let _ = paging.part();
        }
        for query in ["page=0", "page=-1", "limit=0", "limit=x", "page=", "limit=1.5"] {
            assert_eq!(read(query).unwrap_err().status, 400, "{query}");
        }
        let paging = read("limit=10").unwrap();
        assert_eq!([0, 1, 10, 11].map(|total| paging.pages(total)), [0, 1, 1, 2]);
    }
}
