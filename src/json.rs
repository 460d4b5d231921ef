//! Given names and values, gives a JSON object; never reads one.
//!
//! Names in a filesystem are bytes and JSON's strings are not: a byte that is no UTF-8 is written
//! as a backslash, an x and two digits, and a backslash as two, so that every name can be told
//! from every other. After JSON's own decoding `a\xff` reads as `a\xff`, and `a\` as `a\\`.

use std::fmt::Write;

/// An object that is being written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let mut text = String::new();
        for chunk in value.utf8_chunks() {
            text.push_str(&chunk.valid().replace('\\', "\\\\"));
            for byte in chunk.invalid() {
                put(&mut text, format_args!("\\x{byte:02x}"));
            }
        }
        self.raw(name, &quoted(&text))
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, &quoted(value))
    }

    pub(crate) fn texts<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = &'a str>,
    ) -> &mut Self {
        let values: Vec<_> = values.map(quoted).collect();
        self.raw(name, &format!("[{}]", values.join(",")))
    }

    pub(crate) fn objects(&mut self, name: &str, values: impl Iterator<Item = Self>) -> &mut Self {
        let values: Vec<_> = values.map(|value| format!("{}}}", value.0)).collect();
        self.raw(name, &format!("[{}]", values.join(",")))
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    #[cfg(any(feature = "cli", test))]
    pub(crate) fn truth(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    /// A value that is JSON already, in one line.
    #[cfg(all(feature = "cli", feature = "oci"))]
    pub(crate) fn json(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, value)
    }

    /// A number of seconds, to the millisecond.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn seconds(&mut self, name: &str, value: std::time::Duration) -> &mut Self {
        let text = format!("{}.{:03}", value.as_secs(), value.subsec_millis());
        self.raw(name, &text)
    }

    /// The whole object, in one line.
    pub(crate) fn finish(&self) -> String {
        format!("{}}}\n", self.0)
    }

    fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        put(&mut self.0, format_args!("{}:{value}", quoted(name)));
        self
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                put(&mut out, format_args!("\\u{:04x}", u32::from(control)));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a string never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_reads_what_was_meant() {
        let one = || {
            let mut object = Object::new();
            object.number("inode", 12);
            object
        };
        let mut object = Object::new();
        object
            .bytes("path", b"a\\b\xff\n\"")
            .texts("features", ["extent", "64bit"].into_iter())
            .number("blocks", 7)
            .objects("findings", std::iter::repeat_with(one).take(2))
            .truth("dry_run", false)
            .seconds("seconds", std::time::Duration::from_millis(1042));
        let value: serde_json::Value = serde_json::from_str(&object.finish()).expect("it is valid");
        let expected = serde_json::json!({
            "path": "a\\\\b\\xff\n\"",
            "features": ["extent", "64bit"],
            "blocks": 7,
            "findings": [{"inode": 12}, {"inode": 12}],
            "dry_run": false,
            "seconds": 1.042,
        });
        assert_eq!(value, expected);
    }
}
