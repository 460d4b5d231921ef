//! Given the times that a run kept, draws them as an SVG picture; never measures, and leaves no line out.
//!
//! The times are a file of tab-separated lines, so that the picture can be drawn again from what is checked in:
//! lines after a `#` say where and how they were measured, and for each workload and builder a line with the median, the least and the most.

use std::error::Error;
use std::fmt::Write as _;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The line before the times.
pub(crate) const HEAD: &str = "workload\tentries\tMiB\tbuilder\tmedian s\tleast s\tmost s";
/// Columns of the picture, in pixels.
const WIDTH: f64 = 760.0;
const BAR_AT: f64 = 200.0;
const BAR_MOST: f64 = 460.0;
const ROW: f64 = 22.0;
/// A bar longer than this many times that of mke4fs is cut, as the others would be too short to see.
const CUT: f64 = 6.0;

/// The builder whose bars others are held against.
const MKE4FS: &str = "mke4fs";

/// What a line of the file says.
struct Row {
    workload: String,
    builder: String,
    median: f64,
}

/// The picture of what the file `data` holds.
pub(crate) fn draw(data: &str) -> Result<String> {
    let about: Vec<&str> = data
        .lines()
        .filter_map(|it| it.strip_prefix("# "))
        .collect();
    let lines = data
        .lines()
        .filter(|it| !it.starts_with('#') && *it != HEAD);
    let rows = lines.map(row).collect::<Result<Vec<Row>>>()?;
    let mut body = String::new();
    let mut y = 58.0;
    let mut rest = &rows[..];
    while let Some(first) = rest.first() {
        let is_same = |row: &&Row| row.workload == first.workload;
        let (panel, others) = rest.split_at(rest.iter().take_while(is_same).count());
        y = draw_panel(&mut body, panel, y)?;
        rest = others;
    }
    for line in about {
        writeln!(
            body,
            "<text class=\"small\" x=\"16\" y=\"{y:.0}\">{}</text>",
            escaped(line)
        )?;
        y += 16.0;
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" \
         height=\"{y:.0}\" role=\"img\" aria-label=\"Seconds to fill an ext4 filesystem from a directory\">\n\
         <style>text{{font:14px sans-serif;fill:#1f2328}}.title{{font-size:18px;font-weight:600}}\
         .head{{font-weight:600}}.small{{font-size:12px;fill:#59636e}}.own{{font-weight:600}}\
         rect.bar{{fill:#afb8c1}}rect.own{{fill:#0969da}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"16\" y=\"30\">Seconds to fill an ext4 filesystem from a directory</text>\n\
         {body}</svg>\n"
    ))
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [workload, entries, mebibytes, builder, median, ..] = fields[..] else {
        return Err(format!("not a line of times: {line}").into());
    };
    let workload = match workload.split_once('-').map_or(workload, |(name, _)| name) {
        "small" => format!("{entries} files and directories, {mebibytes} MiB"),
        "flat" => format!("{entries} files in one directory, {mebibytes} MiB"),
        "big" => format!("{entries} large files, {mebibytes} MiB"),
        other => format!("{other}: {entries} entries, {mebibytes} MiB"),
    };
    Ok(Row {
        workload,
        builder: builder.to_owned(),
        median: median.parse()?,
    })
}

/// Draws the bars of one workload from the line `y` on, and gives the line where the next begins.
fn draw_panel(body: &mut String, rows: &[Row], mut y: f64) -> Result<f64> {
    let own = rows.iter().find(|row| row.builder == MKE4FS);
    let own = own.ok_or("mke4fs has no time")?.median;
    let longest = rows.iter().map(|row| row.median).fold(0.0, f64::max);
    let scale = BAR_MOST / longest.min(own * CUT);
    let head = escaped(&rows[0].workload);
    writeln!(
        body,
        "<text class=\"head\" x=\"16\" y=\"{y:.0}\">{head}</text>"
    )?;
    y += 8.0;
    for row in rows {
        let class = if row.builder.starts_with(MKE4FS) {
            "own"
        } else {
            "bar"
        };
        let is_cut = row.median > own * CUT;
        let length = (row.median * scale).min(BAR_MOST);
        let (middle, name) = (y + 15.0, escaped(&row.builder));
        writeln!(
            body,
            "<text class=\"{class}\" x=\"28\" y=\"{middle:.0}\">{name}</text>"
        )?;
        writeln!(
            body,
            "<rect class=\"{class}\" x=\"{BAR_AT}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"16\"/>",
            y + 2.0
        )?;
        if is_cut {
            let x = BAR_AT + BAR_MOST * 0.9;
            writeln!(
                body,
                "<path d=\"M{x:.0} {:.0}l8 -20h7l-8 20z\" fill=\"#ffffff\"/>",
                y + 20.0
            )?;
        }
        writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{middle:.0}\">{:.2} s{}</text>",
            BAR_AT + length + 8.0,
            row.median,
            if is_cut { " (cut)" } else { "" }
        )?;
        y += ROW;
    }
    Ok(y + 26.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
