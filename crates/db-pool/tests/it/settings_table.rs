//! The table of settings in the README says what the presets are.

use db_pool::PoolConfig;
use serde_json::Value;

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn the_table_of_settings_names_every_field_and_its_presets() {
    let readme = include_str!("../../README.md");
    let presets = [
        PoolConfig::web(""),
        PoolConfig::batch(""),
        // Without a preset's own prefix.
        PoolConfig {
            url: String::new(),
            ..PoolConfig::embedded("app.db")
        },
    ];
    let presets = presets.map(|preset| serde_json::to_value(preset).expect("plain data"));
    let [web, ..] = &presets;
    for field in web.as_object().expect("named fields").keys() {
        if field == "url" {
            continue; // always given
        }
        let values = presets.each_ref().map(|preset| shown(&preset[field]));
        let row = format!("| `{field}` | {} |", values.join(" | "));
        assert!(readme.contains(&row), "the README lacks {row}");
    }
}
