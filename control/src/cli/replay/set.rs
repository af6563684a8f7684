//! `--set NAME=VALUE`: one of a call's settings, by its own name (`min_silence_ms=400`) or as people say it
//! (`turn.min_silence=400ms`).
//!
//! The names and the types are those of the settings' own text form, so that a setting that is added needs nothing here.

use offhook_engine::call::CallSettings;
use toml::{Table, Value};

use crate::settings::check_call;

/// The words before the dot. They order the names for people; a name is found with or without its word.
const GROUPS: [&str; 9] =
    ["call", "vad", "turn", "barge_in", "recogniser", "agent", "voice", "keys", "playout"];

/// How many near names an error lists.
const NEAR: usize = 3;

/// `settings` with each of `changes` made. Errors say what to write instead.
pub(super) fn changed(settings: &CallSettings, changes: &[String]) -> Result<CallSettings, String> {
    let mut table = Table::try_from(settings).map_err(|e| e.to_string())?;
    for change in changes {
        let (name, text) =
            change.split_once('=').ok_or_else(|| format!("{change}: write NAME=VALUE, {EXAMPLES}"))?;
        let key = find(&table, name.trim())?;
        let value = value(&key, &table[&key], text.trim()).map_err(|help| format!("{change}: {help}"))?;
        table.insert(key, value);
        // One at a time, so that the error is that of this change.
        Value::Table(table.clone())
            .try_into::<CallSettings>()
            .map_err(|e| format!("{change}: {}", e.message()))?;
    }
    let settings = Value::Table(table).try_into().map_err(|e: toml::de::Error| e.message().to_owned())?;
    check_call(&settings).map_err(|e| e.to_string())?;
    Ok(settings)
}

const EXAMPLES: &str = "such as turn.min_silence=400ms or min_silence_ms=400";

/// The setting that `name` means.
fn find(table: &Table, name: &str) -> Result<String, String> {
    let said = name.replace('-', "_");
    let means = |key: &&String| {
        let short = plain(key);
        let in_group =
            said.split_once('.').filter(|(group, _)| GROUPS.contains(group)).is_some_and(|(group, rest)| {
                [rest.to_owned(), format!("{group}_{rest}")].iter().any(|it| it == *key || *it == short)
            });
        said == **key || said == short || in_group
    };
    table.keys().find(means).cloned().ok_or_else(|| {
        let near = near(table, &said).join(", ");
        format!("there is no setting {name}; near to it: {near}")
    })
}

/// A name without its unit: `min_silence_ms` is `min_silence`, `turn_ms_max` is `turn_max`.
fn plain(key: &str) -> String {
    key.split('_').filter(|part| *part != "ms").collect::<Vec<_>>().join("_")
}

/// The names that are nearest to `said`, the nearest first.
fn near<'a>(table: &'a Table, said: &str) -> Vec<&'a str> {
    let rest = said.rsplit('.').next().unwrap_or(said);
    let likeness = |key: &str| {
        [said, rest].iter().map(|said| strsim::jaro_winkler(&plain(said), &plain(key))).fold(0.0, f64::max)
    };
    let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
    keys.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    keys.truncate(NEAR);
    keys
}

/// What `text` says, as a value of the kind that the setting has.
fn value(key: &str, like: &Value, text: &str) -> Result<Value, String> {
    match like {
        Value::Integer(_) if key.split('_').any(|part| part == "ms") => millis(text).map(Value::Integer),
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "write a whole number".into()),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| "write a number, such as 0.5".into()),
        Value::Boolean(_) => match text {
            "true" | "on" | "yes" => Ok(Value::Boolean(true)),
            "false" | "off" | "no" => Ok(Value::Boolean(false)),
            _ => Err("write true or false".into()),
        },
        Value::Array(_) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Ok(Value::Array(words.map(|word| Value::String(word.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Milliseconds: `400`, `400ms`, `0.4s`, `2m`.
fn millis(text: &str) -> Result<i64, String> {
    let help = || "write a time in whole milliseconds, such as 400ms, 0.4s or 400".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        _ => return Err(help()),
    };
    let ms = digits.trim().parse::<f64>().map_err(|_| help())? * scale;
    let whole = (0.0..=f64::from(u32::MAX)).contains(&ms) && (ms - ms.round()).abs() < 1e-6;
    if whole { Ok(ms.round() as i64) } else { Err(help()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(changes: &[&str]) -> Result<CallSettings, String> {
        let changes: Vec<String> = changes.iter().map(|&change| change.into()).collect();
        changed(&CallSettings::default(), &changes)
    }

    #[test]
    fn setting_goes_by_its_own_name_and_as_people_say_it() {
        for change in
            ["min_silence_ms=400", "turn.min_silence=400ms", "min_silence=0.4s", "turn.min-silence = 400"]
        {
            let wanted = CallSettings { min_silence_ms: 400, ..CallSettings::default() };
            assert_eq!(set(&[change]), Ok(wanted), "{change}");
        }
        let many = set(&["turn.max=2m", "vad.mode=1", "barge_in.cough_max=2s", "error_frames=off"]).unwrap();
        let wanted = CallSettings {
            turn_ms_max: 120_000,
            vad_mode: 1,
            cough_ms_max: 2_000,
            error_frames: false,
            ..CallSettings::default()
        };
        assert_eq!(many, wanted);
    }

    #[test]
    fn every_setting_can_be_set() {
        let table = Table::try_from(CallSettings::default()).unwrap();
        for (key, value) in &table {
            let value = match value {
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            assert_eq!(set(&[&format!("{key}={value}")]), Ok(CallSettings::default()), "{key}");
            assert_eq!(set(&[&format!("call.{}={value}", plain(key))]), Ok(CallSettings::default()), "{key}");
        }
    }

    #[test]
    fn unknown_name_gets_the_names_that_are_near() {
        let error = set(&["turn.min_silense=400ms"]).unwrap_err();
        assert!(
            error.starts_with("there is no setting turn.min_silense; near to it: min_silence_ms"),
            "{error}"
        );
        let error = set(&["tea.min_silence=400ms"]).unwrap_err();
        assert!(error.contains("near to it: min_silence_ms"), "{error}");
    }

    #[test]
    fn bad_value_says_the_form() {
        for (change, says) in [
            ("turn.min_silence=soon", "such as 400ms, 0.4s or 400"),
            ("turn.min_silence=4h", "such as 400ms, 0.4s or 400"),
            ("turn.min_silence=-4ms", "such as 400ms, 0.4s or 400"),
            ("turn.min_silence=0.5ms", "whole milliseconds"),
            ("turn.min_silence=", "such as 400ms, 0.4s or 400"),
            ("turn.min_silence=5000000s", "such as 400ms, 0.4s or 400"),
            ("vad.mode=high", "write a whole number"),
            ("vad.mode=900", "u8"),
            ("error_frames=2", "write true or false"),
            ("vad_mode=4", "it goes from 0"),
            ("turn.min_silence", "write NAME=VALUE, such as turn.min_silence=400ms"),
        ] {
            let error = set(&[change]).unwrap_err();
            let name = change.split(['=', '.']).next().unwrap();
            assert!(error.starts_with(name) && error.contains(says), "{change}: {error}");
        }
    }
}
