//! Pages of a list: how many, and from where on.

use std::collections::HashMap;

use axum::extract::Query;

use crate::systems::error::ApiError;

/// The query's fields.
pub(super) type Parameters = Query<HashMap<String, String>>;

/// A count between 1 and the greatest: more is cut, none is refused.
pub(super) fn count(
    parameters: &HashMap<String, String>,
    name: &str,
    (default, greatest): (usize, usize),
) -> Result<usize, ApiError> {
    let Some(text) = parameters.get(name) else { return Ok(default) };
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number.min(greatest)),
        _ => Err(ApiError::bad_parameter(name, "integer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_cut_at_the_greatest_and_refused_below_one() {
        let with = |text: &str| HashMap::from([("limit".to_owned(), text.to_owned())]);
        assert_eq!(count(&HashMap::new(), "limit", (50, 500)).unwrap(), 50);
        assert_eq!(count(&with("7"), "limit", (50, 500)).unwrap(), 7);
        assert_eq!(count(&with("100000"), "limit", (50, 500)).unwrap(), 500);
        for bad in ["0", "-1", "many", ""] {
            assert_eq!(count(&with(bad), "limit", (50, 500)).unwrap_err().status, 400, "{bad}");
        }
    }
}
