//! The part of JSON Schema that arguments of tools are described with.
//!
//! A schema that uses more is refused when it is read, so that nothing which it demands goes unchecked.
//! [JSON Schema 2020-12, validation](https://json-schema.org/draft/2020-12/json-schema-validation).

use serde_json::Value;

/// Say something to the model, and demand nothing.
const NOTES: [&str; 6] = ["description", "title", "default", "examples", "format", "$schema"];
const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Whether `schema` says only what [`fits`] can check. The error says where it does not.
pub(super) fn can_be_checked(schema: &Value, at: &str) -> Result<(), String> {
    let fields = schema.as_object().ok_or_else(|| format!("{at} is not a table"))?;
    for (key, value) in fields {
        let here = format!("{at}.{key}");
        let is_right = match key.as_str() {
            "type" => value.as_str().is_some_and(|name| TYPES.contains(&name)),
            "enum" => value.is_array(),
            "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
            "minimum" | "maximum" => value.is_number(),
            "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
            "additionalProperties" => value.is_boolean(),
            "items" => {
                can_be_checked(value, &here)?;
                true
            }
            "properties" => {
                let properties = value.as_object().ok_or_else(|| format!("{here} is not a table"))?;
                for (name, schema) in properties {
                    can_be_checked(schema, &format!("{here}.{name}"))?;
                }
                true
            }
            note if NOTES.contains(&note) => true,
            _ => return Err(format!("{here} is not among the words that can be checked")),
        };
        if !is_right {
            return Err(format!("{here} has a value that it cannot have"));
        }
    }
    Ok(())
}

/// Whether `value` is as `schema` demands, which [`can_be_checked`]. The error is for the model.
pub(crate) fn fits(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    if let Some(wanted) = schema["type"].as_str()
        && !is_of_type(value, wanted)
    {
        return Err(format!("{at} must be of type {wanted}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at} must be one of {}", schema["enum"]));
    }
    if let Some(number) = value.as_f64() {
        within(number, [&schema["minimum"], &schema["maximum"]], at)?;
    }
    if let Some(text) = value.as_str() {
        let lengths = [&schema["minLength"], &schema["maxLength"]];
        within(text.chars().count() as f64, lengths, &format!("the length of {at}"))?;
    }
    if let Some(items) = value.as_array() {
        let lengths = [&schema["minItems"], &schema["maxItems"]];
        within(items.len() as f64, lengths, &format!("the length of {at}"))?;
        if schema["items"].is_object() {
            for (place, item) in items.iter().enumerate() {
                fits(item, &schema["items"], &format!("{at}[{place}]"))?;
            }
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !fields.contains_key(name) {
            return Err(format!("{at}.{name} is missing"));
        }
    }
    for (name, field) in fields {
        match schema["properties"].get(name) {
            Some(schema) => fits(field, schema, &format!("{at}.{name}"))?,
            None if schema["additionalProperties"] == false => {
                return Err(format!("{at}.{name} is not known"));
            }
            None => {}
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        // 2.0 is an integer.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    }
}

fn within(number: f64, [least, most]: [&Value; 2], what: &str) -> Result<(), String> {
    match (least.as_f64(), most.as_f64()) {
        (Some(least), _) if number < least => Err(format!("{what} must be at least {least}")),
        (_, Some(most)) if number > most => Err(format!("{what} must be at most {most}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let schema = json!({
            "type": "object",
            "description": "A visit",
            "properties": {
                "day": {"type": "string", "minLength": 3, "maxLength": 9},
                "people": {"type": "integer", "minimum": 1, "maximum": 8},
                "room": {"enum": ["red", "blue", null]},
                "names": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                "late": {"type": "boolean"}
            },
            "required": ["day"],
            "additionalProperties": false
        });
        can_be_checked(&schema, "parameters").unwrap();
        for (value, wanted) in [
            (json!({"day": "monday", "people": 2.0, "room": null, "names": ["a"], "late": false}), None),
            (json!([]), Some("it must be of type object")),
            (json!({}), Some("it.day is missing")),
            (json!({"day": 1}), Some("it.day must be of type string")),
            (json!({"day": "mo"}), Some("the length of it.day must be at least 3")),
            (json!({"day": "überüberüb"}), Some("the length of it.day must be at most 9")),
            (json!({"day": "monday", "people": 0}), Some("it.people must be at least 1")),
            (json!({"day": "monday", "people": 1.5}), Some("it.people must be of type integer")),
            (
                json!({"day": "monday", "room": "green"}),
                Some("it.room must be one of [\"red\",\"blue\",null]"),
            ),
            (json!({"day": "monday", "names": ["a", 1]}), Some("it.names[1] must be of type string")),
            (
                json!({"day": "monday", "names": ["a", "b", "c"]}),
                Some("the length of it.names must be at most 2"),
            ),
            (json!({"day": "monday", "night": 1}), Some("it.night is not known")),
        ] {
            assert_eq!(fits(&value, &schema, "it").err().as_deref(), wanted, "{value}");
        }
    }

    #[test]
    fn a_schema_that_demands_what_is_not_checked_is_refused() {
        for (schema, wanted) in [
            (json!({"properties": {"a": {"pattern": "^x"}}}), "parameters.properties.a.pattern"),
            (json!({"anyOf": []}), "parameters.anyOf"),
            (json!({"type": ["string", "null"]}), "parameters.type"),
            (json!({"items": 7}), "parameters.items"),
        ] {
            let text = can_be_checked(&schema, "parameters").unwrap_err();
            assert!(text.starts_with(wanted), "{text}");
        }
    }
}
