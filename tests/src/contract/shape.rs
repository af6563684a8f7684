//! The form of a JSON value: its keys, all of them and no others, and the type of each.
//!
//! In: the flat field list of an inventory (`logs[].call_id`, `string|null`). Out: what is wrong with a value, each
//! complaint with the place. Values themselves are not compared, but for the form of times.

use serde::Deserialize;
use serde_json::Value;

/// One line of a field list.
#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    /// The dotted name, `[]` for the items of an array.
    pub name: String,
    /// `string`, `integer`, `array<object>`, `string|null` …
    #[serde(rename = "type")]
    pub of: String,
    /// True if null is a value.
    #[serde(default)]
    pub nullable: bool,
    /// A documented value.
    #[serde(default)]
    pub example: Value,
}

/// The form of a value.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Types, any of which will do; empty where only the fields below say what it is.
    types: Vec<String>,
    nullable: bool,
    time: Option<TimeForm>,
    fields: Vec<(String, Shape)>,
    items: Option<Box<Shape>>,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeForm {
    /// `2024-01-01T12:00:00Z`
    Seconds,
    /// `2024-01-01T12:00:00.000Z`
    Millis,
}

impl TimeForm {
    fn of(text: &str) -> Option<Self> {
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        match form.as_str() {
            "0000-00-00T00:00:00Z" => Some(Self::Seconds),
            "0000-00-00T00:00:00.000Z" => Some(Self::Millis),
            _ => None,
        }
    }
}

impl Shape {
    /// Puts a field list together.
    pub fn of(fields: &[Field]) -> Self {
        let mut root = Self::default();
        for field in fields {
            let at = root.at(&field.name);
            for one in field.of.split('|') {
                match one {
                    "null" => at.nullable = true,
                    one => at.types.push(one.to_owned()),
                }
            }
            at.nullable |= field.nullable;
            at.time = field.example.as_str().and_then(TimeForm::of);
        }
        root
    }

    /// The shape at a dotted name, made where it is not there yet.
    fn at(&mut self, name: &str) -> &mut Self {
        let mut at = self;
        for part in name.split('.') {
            let key = part.trim_end_matches("[]");
            if !key.is_empty() {
                let known = at.fields.iter().position(|(name, _)| name == key);
                let index = known.unwrap_or_else(|| {
                    at.fields.push((key.to_owned(), Self::default()));
                    at.fields.len() - 1
                });
                at = &mut at.fields[index].1;
            }
            for _ in 0..part[key.len()..].len() / 2 {
                at = at.items.get_or_insert_default();
            }
        }
        at
    }

    /// What is wrong with `value`; nothing if it has this form.
    pub fn complaints(&self, value: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        self.check("", value, &mut complaints);
        complaints
    }

    fn check(&self, place: &str, value: &Value, complaints: &mut Vec<String>) {
        let name = if place.is_empty() { "the answer" } else { place };
        if value.is_null() && self.nullable {
            return;
        }
        if !self.types.is_empty() && !self.types.iter().any(|of| is_of(of, value)) {
            complaints.push(format!("{name} should be {}, and is {value}", self.types.join(" or ")));
            return;
        }
        if let (Some(form), Some(text)) = (self.time, value.as_str())
            && TimeForm::of(text) != Some(form)
        {
            complaints.push(format!("{name} should be a time in {form:?} with Z, and is {text:?}"));
        }
        if !self.fields.is_empty() {
            self.check_fields(place, name, value, complaints);
        }
        if let Some(items) = &self.items {
            let Some(list) = value.as_array() else {
                complaints.push(format!("{name} should be an array, and is {value}"));
                return;
            };
            if list.is_empty() && !items.fields.is_empty() {
                complaints.push(format!("{name} is empty: there is no item to check"));
            }
            for (n, item) in list.iter().enumerate() {
                items.check(&format!("{place}[{n}]"), item, complaints);
            }
        }
    }

    fn check_fields(&self, place: &str, name: &str, value: &Value, complaints: &mut Vec<String>) {
        let Some(object) = value.as_object() else {
            complaints.push(format!("{name} should be an object, and is {value}"));
            return;
        };
        let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
        for (key, shape) in &self.fields {
            match object.get(key) {
                Some(value) => shape.check(&below(key), value, complaints),
                None => complaints.push(format!("{} is missing", below(key))),
            }
        }
        for key in object.keys().filter(|key| !self.fields.iter().any(|(known, _)| known == *key)) {
            complaints.push(format!("{} is not documented", below(key)));
        }
    }
}

fn is_of(of: &str, value: &Value) -> bool {
    if let Some(item) = of.strip_prefix("array<").and_then(|of| of.strip_suffix('>')) {
        return value.as_array().is_some_and(|list| list.iter().all(|value| is_of(item, value)));
    }
    match of {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        other => panic!("no test knows the type {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(fields: &[(&str, &str)]) -> Shape {
        let field = |(name, of): &(&str, &str)| Field {
            name: (*name).into(),
            of: (*of).into(),
            nullable: false,
            example: if *name == "at" { json!("2024-01-01T12:00:00Z") } else { Value::Null },
        };
        Shape::of(&fields.iter().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn a_value_of_the_form_has_nothing_wrong() {
        let shape = shape(&[
            ("logs", "array<object>"),
            ("logs[].text", "string"),
            ("logs[].call", "string|null"),
            ("count", "integer"),
            ("share", "number"),
            ("inner.flag", "boolean"),
            ("anything", "object"),
            ("names", "array<string>"),
        ]);
        let value = json!({
            "logs": [{ "text": "a", "call": null }, { "text": "b", "call": "c" }],
            "count": 3, "share": 1, "inner": { "flag": true }, "anything": { "x": [1] }, "names": [],
        });
        assert_eq!(shape.complaints(&value), [""; 0]);
    }

    #[test]
    fn each_departure_is_told_with_its_place() {
        let shape = shape(&[("a", "array<object>"), ("a[].n", "integer"), ("s", "string"), ("at", "string")]);
        let told = |value: Value| shape.complaints(&value);
        let at = "2024-01-01T12:00:00Z";
        assert_eq!(
            told(json!({ "a": [{ "n": 1.5 }], "s": "", "at": at })),
            ["a[0].n should be integer, and is 1.5"]
        );
        assert_eq!(
            told(json!({ "a": [{ "n": 1, "m": 2 }], "s": "", "at": at })),
            ["a[0].m is not documented"]
        );
        assert_eq!(told(json!({ "a": [], "s": "", "at": at })), ["a is empty: there is no item to check"]);
        assert_eq!(
            told(json!({ "a": [{ "n": 1 }], "s": null, "at": at })),
            ["s should be string, and is null"]
        );
        assert_eq!(told(json!({ "a": [{ "n": 1 }], "at": at })), ["s is missing"]);
        for wrong in
            ["2024-01-01T12:00:00.5Z", "2024-01-01T12:00:00+00:00", "2024-01-01T12:00:00.000Z", "today"]
        {
            assert_eq!(told(json!({ "a": [{ "n": 1 }], "s": "", "at": wrong })).len(), 1, "{wrong}");
        }
        assert_eq!(told(json!([])), ["the answer should be an object, and is []"]);
    }

    #[test]
    fn the_root_may_be_an_array() {
        let shape = shape(&[("[].id", "string")]);
        assert_eq!(shape.complaints(&json!([{ "id": "x" }])), [""; 0]);
        assert_eq!(shape.complaints(&json!([{ "id": 1 }])), ["[0].id should be string, and is 1"]);
        assert_eq!(shape.complaints(&json!({})), ["the answer should be an array, and is {}"]);
    }
}
