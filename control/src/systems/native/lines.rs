//! Who answers on telephone lines: their assistants, or a persona in its own voice.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::told;
use super::owner::Owner;
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::echome::ids::{own, shown};
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// What stands before the ids of personas.
const PERSONA: &str = "persona";
/// For the document.
const EXAMPLE: &str = "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3";

/// Who is to answer.
#[derive(ToSchema)]
#[schema(as = LinePersonaRequest, examples(json!({ "persona_id": EXAMPLE })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Wanted {
    /// As Echo Me shows it.
    persona_id: String,
}

/// Who answers on a line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinePersona, examples(json!({ "number": "+12025550100", "persona_id": EXAMPLE })))]
pub(super) struct Answers {
    /// E.164.
    number: String,
    /// Null: the line's assistant.
    persona_id: Option<String>,
}

/// Have a persona answer on a line
///
/// From the next call on, in place of the line's assistant and of any persona before: in its own voice and manner, with its
/// owner's products at hand. What the line may do besides, it may do too. Needs the bearer token of whom both belong to, of any
/// system at which they signed in. Where calls are answered by a scenario, the persona greets, and speaks it in its voice; a
/// model that speaks by itself keeps its own voice.
#[utoipa::path(
    put,
    path = "/v1/lines/{number}/persona",
    tag = "lines",
    params(("number" = String, Path, description = "E.164, with its plus as %2B", example = "+12025550100")),
    request_body = Wanted,
    responses(
        (status = 200, description = "Who answers", body = Answers),
        (status = 400, description = "The number or the persona's id is missing, or none"),
        (status = 404, description = "There is no such line or persona of whoever asks"),
        (status = 409, description = "The persona's voice is not there yet")
    )
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(number): Path<String>,
    request: Request,
) -> Result<Json<Answers>, ApiError> {
    let number = parsed(&number)?;
    let fields = Fields::read(request).await?;
    let persona = fields.text("persona_id")?.ok_or_else(|| ApiError::missing("persona_id"))?;
    let put = app.store.put_on_line(&owner, number.as_str(), own(PERSONA, &persona), UnixMs::now()).await;
    let persona_id = Some(shown(PERSONA, &put.map_err(told)?.id));
    Ok(Json(Answers { number: number.as_str().to_owned(), persona_id }))
}

/// Have a line's assistant answer again
///
/// From the next call on. Calls that are under way go on as they are.
#[utoipa::path(
    delete,
    path = "/v1/lines/{number}/persona",
    tag = "lines",
    params(("number" = String, Path, description = "E.164, with its plus as %2B", example = "+12025550100")),
    responses(
        (status = 200, description = "Who answers", body = Answers),
        (status = 400, description = "It is no number"),
        (status = 404, description = "There is no such line of whoever asks")
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(number): Path<String>,
) -> Result<Json<Answers>, ApiError> {
    let number = parsed(&number)?;
    // That none answered on it is as good.
    app.store.take_off_line(&owner, number.as_str()).await.map_err(told)?;
    Ok(Json(Answers { number: number.as_str().to_owned(), persona_id: None }))
}

fn parsed(number: &str) -> Result<E164, ApiError> {
    E164::parse(number)
        .ok_or_else(|| ApiError::bad_parameter("number", "telephone number such as +12025550100"))
}
