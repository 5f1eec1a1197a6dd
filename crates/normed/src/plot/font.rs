//! The font of plots. A PNG needs the shapes of letters, and the machine may have no fonts, so one is built
//! in. An SVG is shown in the reader's own font; here the built-in one only measures texts.

use std::sync::Once;

use plotters::style::{FontStyle, register_font};

/// DejaVu Sans, Latin letters only; its license is in the same folder.
const DEJAVU: &[u8] = include_bytes!("font/DejaVuSans-Latin.ttf");

/// The name of the font. Every plot asks for it here first, which registers it.
pub(super) fn sans_serif() -> &'static str {
    const NAME: &str = "sans-serif";
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // The bytes are part of the program, and a test draws with them: they are a valid font.
        let registered = register_font(NAME, FontStyle::Normal, DEJAVU);
        assert!(registered.is_ok(), "the built-in font cannot be read");
    });
    NAME
}
