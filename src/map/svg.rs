//! Given a map of blocks, draws it as an SVG document; never more than 2 MiB of it, and nothing that has to
//! be fetched.

use std::fmt::{self, Write};
use std::ops::Range;

use super::grid::COLUMNS;
use super::{BlockOwner, Counts, Map};
use crate::read::Superblock;

/// All lengths are in pixels.
const CELL_WIDTH: u64 = 8;
const CELL_HEIGHT: u64 = 10;
/// Of a cell that has more than one owner, what the second one gets.
const STRIP_HEIGHT: u64 = 4;
const LINE_HEIGHT: u64 = 12;
const ROW_GAP: u64 = 3;
/// Rows are named here; the longest name has 22 letters.
const LEFT: u64 = 150;
const RIGHT: u64 = 16;
const WIDTH: u64 = LEFT + COLUMNS * CELL_WIDTH + RIGHT;
const LEGEND_TOP: u64 = 84;
/// What is damaged is told above the legend.
const DAMAGE_LINE: u64 = 17;
const LEGEND_LINE: u64 = 20;
const LEGEND_COLUMNS: u64 = 3;
/// How many owners a tooltip names at most.
const OWNERS_TOLD: usize = 2;

/// What each owner is drawn in, in the order of [`BlockOwner::ALL`]: told apart by lightness too, for those
/// who see few colours.
const COLOURS: [&str; BlockOwner::ALL.len()] = [
    "#000000", "#7b1fa2", "#c9a0dc", "#e64a19", "#f9a825", "#5d4037", "#00695c", "#4f8fd6",
    "#1a3a8f", "#d81b60", "#8bc34a", "#9e9e9e", "#ff8a80", "#edf0f2",
];

/// Neighbouring cells that look alike.
struct Stretch {
    cells: Range<u64>,
    counts: Counts,
    look: Look,
}

/// The owner with most blocks, and the second.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    first: BlockOwner,
    second: Option<BlockOwner>,
}

impl Look {
    fn of(counts: &Counts) -> Self {
        let mut owners = counts.by_size().into_iter().map(|(owner, _)| owner);
        Self {
            first: owners.next().unwrap_or(BlockOwner::Free),
            second: owners.next(),
        }
    }
}

/// Draws a map.
pub(super) fn draw(map: &Map) -> String {
    let mut text = String::new();
    let shown: Vec<_> = {
        let all = BlockOwner::ALL.into_iter();
        all.filter(|owner| map.blocks(*owner) > 0).collect()
    };
    let lines = length(shown.len()).div_ceil(LEGEND_COLUMNS);
    let legend_top = LEGEND_TOP + map.damage().map_or(0, |_| DAMAGE_LINE);
    let top = legend_top + lines * LEGEND_LINE + 12;
    let mut rows = String::new();
    let mut y = top;
    for row in 0..map.grid.rows() {
        y = draw_row(&mut rows, map, row, y);
    }
    head(&mut text, map, y + 8);
    legend(&mut text, map, &shown, legend_top);
    text.push_str(&rows);
    text.push_str("</svg>\n");
    text
}

fn head(text: &mut String, map: &Map, height: u64) {
    let sb = &map.sb;
    let fonts = "ui-sans-serif,system-ui,sans-serif";
    line(
        text,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"{fonts}\" font-size=\"12\" fill=\"#1c2227\">"
        ),
    );
    let title = title(sb);
    line(text, format_args!("<title>{title}</title>"));
    text.push_str(
        "<style>text{white-space:pre}.n{text-anchor:end;font-variant-numeric:tabular-nums}",
    );
    for (number, colour) in COLOURS.iter().enumerate() {
        put(text, format_args!(".k{number}{{fill:{colour}}}"));
    }
    text.push_str("</style>\n");
    line(
        text,
        format_args!("<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    line(
        text,
        format_args!("<text x=\"16\" y=\"28\" font-size=\"18\" font-weight=\"600\">{title}</text>"),
    );
    let block = sb.block_size().bytes_u64();
    let cell = map.grid.cell_blocks;
    let groups = Plural(sb.groups_count().into(), "group");
    let blocks = Plural(map.grid.blocks(), "block");
    let each = Size(block);
    let cell_blocks = Plural(cell, "block");
    let cell_size = Size(cell * block);
    line(
        text,
        format_args!(
            "<text x=\"16\" y=\"49\">{groups}, {blocks} of {each}. Each cell is {cell_blocks}, \
             {cell_size}.</text>"
        ),
    );
    line(
        text,
        format_args!(
            "<text x=\"16\" y=\"66\" fill=\"#4a545c\">A cell has the colour of what owns most of it, and a \
             strip below in that of the second. Point at one for its numbers.</text>"
        ),
    );
    if let Some(damage) = map.damage() {
        let places = Plural(damage.places(), "place");
        let first = damage.first().to_string();
        let first = Escaped(first.as_bytes());
        line(
            text,
            format_args!(
                "<text x=\"16\" y=\"83\" fill=\"#b00020\">Damaged, and not in the picture: {places} \
                 (first: {first}).</text>"
            ),
        );
    }
}

/// What the filesystem is called.
fn title(sb: &Superblock) -> String {
    let bytes = sb
        .blocks_count()
        .saturating_mul(sb.block_size().bytes_u64());
    let label = sb.label();
    if label.is_empty() {
        return format!("Blocks of a filesystem of {}", Size(bytes));
    }
    format!("Blocks of {}, {}", Escaped(label), Size(bytes))
}

fn legend(text: &mut String, map: &Map, shown: &[BlockOwner], top: u64) {
    let all = map.grid.blocks().max(1);
    let lines = length(shown.len()).div_ceil(LEGEND_COLUMNS).max(1);
    let column = (WIDTH - 16 - RIGHT) / LEGEND_COLUMNS;
    for (number, owner) in (0_u64..).zip(shown) {
        let x = 16 + number / lines * column;
        let y = top + number % lines * LEGEND_LINE;
        let blocks = map.blocks(*owner);
        let bytes = blocks.saturating_mul(map.sb.block_size().bytes_u64());
        let share = Share(blocks, all);
        let name = owner.name();
        let class = owner.index();
        line(
            text,
            format_args!(
                "<g transform=\"translate({x},{y})\"><rect class=\"k{class}\" width=\"14\" height=\"14\" \
                 stroke=\"#5b6670\" stroke-width=\"0.5\"/><text x=\"22\" y=\"11\">{name}</text>\
                 <text class=\"n\" x=\"232\" y=\"11\">{}</text>\
                 <text class=\"n\" x=\"306\" y=\"11\">{}</text>\
                 <text class=\"n\" x=\"366\" y=\"11\">{share}</text></g>",
                Grouped(blocks),
                Size(bytes),
            ),
        );
    }
}

/// Draws a row of groups from `top` on, and says where the next one is.
fn draw_row(text: &mut String, map: &Map, row: u64, top: u64) -> u64 {
    let cells: Vec<Counts> = map.grid.cells_of_row(row).collect();
    let groups = map.grid.groups_of_row(row);
    let blocks = map.grid.blocks_of_row(row);
    let counts = map.grid.counts_of_row(row);
    let last = groups.end.saturating_sub(1);
    let name = if groups.start == last {
        format!("group {last}")
    } else {
        format!("groups {} to {last}", groups.start)
    };
    let (x, y) = (LEFT - 8, top + 9);
    let range = Blocks(blocks.clone());
    let all = Owners(&counts, BlockOwner::ALL.len());
    line(
        text,
        format_args!(
            "<text class=\"n\" x=\"{x}\" y=\"{y}\" font-size=\"10\">\
             <title>{name}, {range}: {all}</title>{name}</text>"
        ),
    );
    let mut y = top;
    let mut first = 0;
    for cells in cells.chunks(usize::try_from(COLUMNS).unwrap_or(usize::MAX)) {
        put(
            text,
            format_args!("<g transform=\"translate({LEFT},{y})\">"),
        );
        for stretch in stretches(cells) {
            let cells = first + stretch.cells.start..first + stretch.cells.end;
            let size = map.grid.cell_blocks;
            let end = (blocks.start + cells.end * size).min(blocks.end);
            let blocks = blocks.start + cells.start * size..end;
            draw_stretch(text, &stretch, blocks);
        }
        text.push_str("</g>\n");
        first += COLUMNS;
        y += LINE_HEIGHT;
    }
    y + if map.grid.groups_per_row() > 1 {
        0
    } else {
        ROW_GAP
    }
}

/// The cells of a line, neighbours of one look together.
fn stretches(cells: &[Counts]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (number, counts) in (0_u64..).zip(cells) {
        let look = Look::of(counts);
        match stretches.last_mut() {
            Some(last) if last.look == look => {
                last.cells.end = number + 1;
                last.counts.add_all(counts);
            }
            _ => stretches.push(Stretch {
                cells: number..number + 1,
                counts: *counts,
                look,
            }),
        }
    }
    stretches
}

fn draw_stretch(text: &mut String, stretch: &Stretch, blocks: Range<u64>) {
    let x = stretch.cells.start * CELL_WIDTH;
    let width = (stretch.cells.end - stretch.cells.start) * CELL_WIDTH;
    let range = Blocks(blocks);
    let owners = Owners(&stretch.counts, OWNERS_TOLD);
    put(text, format_args!("<g><title>{range}: {owners}</title>"));
    let Look { first, second } = stretch.look;
    let height = CELL_HEIGHT - second.map_or(0, |_| STRIP_HEIGHT);
    let class = first.index();
    put(
        text,
        format_args!("<path class=\"k{class}\" d=\"M{x} 0h{width}v{height}h-{width}z\"/>"),
    );
    if let Some(second) = second {
        let class = second.index();
        put(
            text,
            format_args!(
                "<path class=\"k{class}\" d=\"M{x} {height}h{width}v{STRIP_HEIGHT}h-{width}z\"/>"
            ),
        );
    }
    text.push_str("</g>");
}

/// Blocks by their numbers, the first and the last.
struct Blocks(Range<u64>);

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start, self.0.end.saturating_sub(1));
        if first == last {
            write!(f, "block {first}")
        } else {
            write!(f, "blocks {first} to {last}")
        }
    }
}

/// What the owners with most blocks have, and how many more there are.
struct Owners<'a>(&'a Counts, usize);

impl fmt::Display for Owners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners = self.0.by_size();
        for (number, (owner, blocks)) in owners.iter().take(self.1).enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{} {blocks}", owner.name())?;
        }
        match owners.len().saturating_sub(self.1) {
            0 => Ok(()),
            1 => f.write_str(", 1 more"),
            more => write!(f, ", {more} more"),
        }
    }
}

/// A number with what it counts.
struct Plural(u64, &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", Grouped(self.0), self.1)
    }
}

/// A number whose thousands are told apart.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (number, digit) in digits.chars().enumerate() {
            if number > 0 && (digits.len() - number).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// Bytes in the largest unit of which there is at least one.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let unit = units.into_iter().find(|(_, shift)| self.0 >> shift > 0);
        let Some((unit, shift)) = unit else {
            return write!(f, "{} bytes", self.0);
        };
        let tenths = (u128::from(self.0) * 10) >> shift;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {unit}"),
            (whole, tenth) => write!(f, "{whole}.{tenth} {unit}"),
        }
    }
}

/// A part of a whole, in percent.
struct Share(u64, u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permille = u128::from(self.0) * 1000 / u128::from(self.1.max(1));
        match permille {
            0 => f.write_str("&lt; 0.1 %"),
            _ => write!(f, "{}.{} %", permille / 10, permille % 10),
        }
    }
}

/// Bytes as text of XML: control characters and what is no UTF-8 are escaped as in Rust, and what XML does
/// not allow.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '&' => f.write_str("&amp;")?,
                    '<' => f.write_str("&lt;")?,
                    '>' => f.write_str("&gt;")?,
                    '\u{fffe}' | '\u{ffff}' => character.escape_unicode().fmt(f)?,
                    control if control.is_control() => control.escape_default().fmt(f)?,
                    plain => f.write_char(plain)?,
                }
            }
            // What escapes bytes has no sign that XML would take for its own.
            chunk.invalid().escape_ascii().fmt(f)?;
        }
        Ok(())
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn line(text: &mut String, what: fmt::Arguments<'_>) {
    put(text, what);
    text.push('\n');
}

fn put(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a string never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_text_of_xml() {
        for (label, shown) in [
            (&b"a<b>&\"c\""[..], "a&lt;b&gt;&amp;\"c\""),
            (b"\x01\xff\x7f", "\\u{1}\\xff\\u{7f}"),
            ("\u{ffff}ü".as_bytes(), "\\u{ffff}ü"),
        ] {
            assert_eq!(Escaped(label).to_string(), shown);
        }
    }

    #[test]
    fn the_longest_picture_has_less_than_two_mebibytes() {
        // The largest filesystem has 2^48 blocks, 2^35 in each of 8,192 cells.
        let mut counts = Counts::default();
        for owner in BlockOwner::ALL {
            counts.add(owner, 9_999_999_999);
        }
        counts.add(BlockOwner::Unowned, 10_000_000_000);
        counts.add(BlockOwner::Xattr, 20_000_000_000);
        let stretch = Stretch {
            cells: COLUMNS - 1..COLUMNS,
            counts,
            look: Look::of(&counts),
        };
        let mut cell = String::new();
        draw_stretch(&mut cell, &stretch, 1 << 47..1 << 48);
        let rest = 64 * 1024;
        assert!(cell.len() * 8192 + rest < 2 << 20, "{cell}");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(Plural(1, "block").to_string(), "1 block");
        assert_eq!(Plural(1_234_567, "block").to_string(), "1,234,567 blocks");
        assert_eq!(Size(600 << 20).to_string(), "600 MiB");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Share(1, 2000).to_string(), "&lt; 0.1 %");
        assert_eq!(Share(1, 3).to_string(), "33.3 %");
    }
}
