//! The inventory of an API: `fixtures/contract/<system>.json`, as far as the walk reads it.

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::shape::{Field, Shape};

/// All systems that have an inventory.
pub const SYSTEMS: [&str; 5] = ["voiceclone", "callbot", "dashboard", "echome", "frontdesk"];

/// One system's API.
#[derive(Debug, Deserialize)]
pub struct Inventory {
    /// Its name.
    pub system: String,
    /// The forms of its errors, by name.
    pub error_formats: std::collections::BTreeMap<String, ErrorFormat>,
    /// The headers of a limited answer.
    pub rate_limit_headers: Vec<Named>,
    /// What its sockets tell as `event`.
    #[serde(default)]
    pub websocket_events: Vec<Value>,
    /// Every endpoint.
    pub endpoints: Vec<Endpoint>,
    /// Those that the document implies.
    pub implied_endpoints: Vec<Endpoint>,
}

/// How errors look.
#[derive(Debug, Deserialize)]
pub struct ErrorFormat {
    /// The fields of the body.
    pub shape: Vec<Field>,
    /// Documented bodies.
    pub examples: Vec<ErrorExample>,
}

/// A documented error.
#[derive(Debug, Deserialize)]
pub struct ErrorExample {
    /// Its body.
    pub example: Value,
}

/// Something that has a name.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// One endpoint.
#[derive(Debug, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// As written: `WS` for a socket.
    pub method: String,
    /// Path below the system's base, with `{parameters}`.
    pub path: String,
    /// Who may ask.
    pub auth: Auth,
    /// What its request may be coded as; none: there is no body.
    pub request_content_types_accepted: Vec<String>,
    /// What may stand in the request.
    pub request_fields: Vec<RequestField>,
    /// The status of a good answer.
    pub success_status: u16,
    /// What a good answer is coded as; none: it has no body.
    pub response_content_type: Option<String>,
    /// The fields of a good answer.
    pub response_fields: Vec<Field>,
    /// Further forms of a good answer.
    pub response_variants: Vec<Variant>,
    /// The limit that it counts against.
    pub rate_limit: Option<Limit>,
    /// A key of [`Inventory::error_formats`].
    pub error_format: Option<String>,
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A request and an answer.
    Http,
    /// A socket.
    Websocket,
    /// A page about the API.
    DocumentationPage,
}

/// Who may ask.
#[derive(Debug, Deserialize)]
pub struct Auth {
    /// How they prove it.
    pub scheme: String,
    /// When they have to: `required`, `optional`, `production_only` or `none`.
    pub requirement: String,
}

/// A field of a request.
#[derive(Debug, Deserialize)]
pub struct RequestField {
    /// Its dotted name.
    pub name: String,
    /// True if there is no request without it.
    pub required: bool,
    /// Where that is from.
    pub required_basis: String,
}

/// A form that a good answer may have.
#[derive(Debug, Deserialize)]
pub struct Variant {
    /// When it has it.
    pub label: String,
    /// Its fields.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// How often one client may ask.
#[derive(Debug, Deserialize)]
pub struct Limit {
    /// How many requests; none: the document has no number.
    pub requests: Option<u32>,
    /// In how long.
    pub window_seconds: Option<u32>,
    /// The paths that are counted together.
    pub scope: String,
    /// Who is counted: `ip`, `user` …
    #[serde(default)]
    pub key: Option<String>,
}

impl Inventory {
    /// Reads a system's file.
    pub fn of(system: &str) -> Self {
        let path = offhook_fixtures::path(&format!("contract/{system}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let inventory: Self =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(inventory.system, system);
        inventory
    }

    /// All endpoints, the implied ones last.
    pub fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(&self.implied_endpoints)
    }

    /// The endpoint of this name.
    pub fn endpoint(&self, id: &str) -> &Endpoint {
        self.all().find(|endpoint| endpoint.id == id).unwrap_or_else(|| panic!("{} has no {id}", self.system))
    }

    /// The form of an error.
    pub fn error_shape(&self, format: &str) -> Shape {
        Shape::of(&self.error_formats[format].shape)
    }
}

impl Endpoint {
    /// The method on the wire.
    pub fn wire_method(&self) -> Method {
        match self.kind {
            Kind::Websocket => Method::GET,
            _ => self.method.parse().expect("the inventory's methods are HTTP's"),
        }
    }

    /// The form of a good answer.
    pub fn shape(&self) -> Shape {
        Shape::of(&self.response_fields)
    }

    /// The fields that a good answer has in this case.
    pub fn variant(&self, label: &str) -> &[Field] {
        let found = self.response_variants.iter().find(|variant| variant.label == label);
        &found.unwrap_or_else(|| panic!("{} has no variant {label}", self.id)).fields
    }

    /// True if it takes a body of this type.
    pub fn accepts(&self, content_type: &str) -> bool {
        self.request_content_types_accepted.iter().any(|accepted| accepted == content_type)
    }

    /// The fields at the top without which a document says that there is no request.
    pub fn documented_required(&self) -> impl Iterator<Item = &str> {
        let named = self.request_fields.iter().filter(|f| f.required && f.required_basis == "documented");
        named.map(|f| f.name.as_str()).filter(|name| !name.contains(['.', '[']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_every_endpoint_has_a_name_of_its_own() {
        let counts = SYSTEMS.map(|system| Inventory::of(system).endpoints.len());
        assert_eq!(counts, [5, 13, 46, 25, 24]);
        let mut ids: Vec<_> = SYSTEMS
            .iter()
            .flat_map(|s| Inventory::of(s).all().map(|e| e.id.clone()).collect::<Vec<_>>())
            .collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!((ids.len(), all), (115, 115));
    }

    #[test]
    fn every_example_of_an_error_has_the_form_that_is_documented_for_it() {
        for inventory in SYSTEMS.map(Inventory::of) {
            for endpoint in inventory.all() {
                let format = endpoint.error_format.as_ref();
                assert!(format.is_none_or(|f| inventory.error_formats.contains_key(f)), "{}", endpoint.id);
            }
        }
        let callbot = Inventory::of("callbot");
        for (name, format) in &callbot.error_formats {
            for example in &format.examples {
                let complaints = callbot.error_shape(name).complaints(&example.example);
                assert!(complaints.is_empty(), "{name}: {complaints:?}");
            }
        }
    }
}
