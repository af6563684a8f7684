//! How the tries of a delivery to a webhook are shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::deliveries::DeliveryTry;

/// One try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryTry)]
pub(super) struct Tried {
    number: u32,
    #[schema(format = DateTime)]
    at: String,
    took_ms: u64,
    /// Of the answer; null if there was none.
    status: Option<u16>,
    /// The beginning of its body.
    answer: String,
    /// Why it does not count as taken.
    error: Option<String>,
}

impl From<DeliveryTry> for Tried {
    fn from(tried: DeliveryTry) -> Self {
        Self {
            number: tried.number,
            at: tried.at.to_string(),
            took_ms: tried.took_ms,
            status: tried.status,
            answer: tried.answer,
            error: tried.error,
        }
    }
}
