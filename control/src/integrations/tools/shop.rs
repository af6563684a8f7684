//! What a model may do with somebody's products: look for those that a question is about.
//!
//! An answer is JSON with what is said of each product, as its catalogue has it: nothing else is to be told of them. Whatever
//! goes wrong is told to the model; the call goes on.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{described, schema};
use crate::domain::catalogue::{Catalogues, Question, Ways};

/// The tool's name.
pub const SEARCH: &str = "search_products";

/// The longest question, in characters.
const QUERY_MAX: usize = 400;
/// So many chunks are told of: what can be said in a turn.
const TOLD: usize = 5;
/// Of each of them so much, in characters.
const CHUNK_MAX: usize = 1_500;
/// How long a question's embedding may take: the caller waits.
const EMBED_WITHIN: Duration = Duration::from_millis(800);

/// Products of an owner's, as a model is let at them.
#[derive(Clone)]
pub struct Shop {
    catalogues: Catalogues,
    owner: String,
}

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shop({})", self.owner)
    }
}

impl Shop {
    /// The products of this user.
    pub fn new(catalogues: Catalogues, owner: impl Into<String>) -> Self {
        Self { catalogues, owner: owner.into() }
    }

    /// Whose they are.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn offered(&self) -> Value {
        described(
            SEARCH,
            "Looks for products and what is known of them. Use it before you say anything of a product, its price or whether it \
             is in stock, and say of products only what it tells.",
            &parameters(),
        )
    }

    /// What is found. The error is for the model.
    pub(super) async fn call(&self, arguments: &str) -> Value {
        let asked = serde_json::from_str(arguments).map_err(|_| "the arguments are no JSON".to_owned());
        let asked = asked.and_then(|asked: Value| {
            schema::fits(&asked, &parameters(), "arguments")?;
            Ok(asked)
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return json!({ "error": error }),
        };
        let question = Question {
            owner: &self.owner,
            text: asked["query"].as_str().unwrap_or_default(),
            catalogue: None,
            limit: TOLD,
            ways: Ways::Both,
            embed_within: EMBED_WITHIN,
        };
        let found = match self.catalogues.search(question).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(shop = ?self, %error, "products cannot be looked for");
                return json!({ "error": "The products cannot be looked up at the moment. Offer to find out later." });
            }
        };
        if found.is_empty() {
            return json!({ "products": [], "note": "No product is about that. Say so, and ask what else they need." });
        }
        let products: Vec<Value> = found
            .into_iter()
            .map(|found| {
                let text: String = found.content.chars().take(CHUNK_MAX).collect();
                json!({ "name": found.product_name, "text": text })
            })
            .collect();
        json!({ "products": products })
    }
}

fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": {
                "type": "string", "minLength": 1, "maxLength": QUERY_MAX,
                "description": "What is asked for, in the words of a catalogue.",
            },
        },
        "required": ["query"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::time::UnixMs;
    use crate::integrations::openai::ToolCall;
    use crate::integrations::tools::Tools;
    use crate::store::Store;

    #[tokio::test]
    async fn what_cannot_be_asked_or_is_not_there_is_told_to_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let shop = Shop::new(Catalogues::new(store, dir.path(), None), "somebody");
        let tools = Tools::new(&[], &[]).unwrap().with_shop(shop).unwrap();
        let offered = tools.offered().last().unwrap();
        assert_eq!(offered["function"]["name"], SEARCH);
        let call = async |arguments: &str| {
            let call = ToolCall { id: "1".into(), name: SEARCH.into(), arguments: arguments.into() };
            serde_json::from_str::<Value>(&tools.call(&call, "c").await.text).unwrap()
        };
        assert_eq!(call("{\"query\": \"pens\"}").await["products"], json!([]));
        for wrong in
            ["", "[]", "{}", "{\"query\": 7}", "{\"query\": \"\"}", "{\"query\": \"x\", \"owner\": \"me\"}"]
        {
            assert!(call(wrong).await["error"].is_string(), "{wrong}");
        }
        let long = json!({ "query": "x".repeat(QUERY_MAX + 1) }).to_string();
        assert!(call(&long).await["error"].is_string());
    }
}
