//! What all pages have around their own content, and what it depends on: two cookies, which hold nothing
//! but how the reader likes to see things.

use askama::Template;
use chrono::FixedOffset;
use serde::Deserialize;

use super::assets::Icon;
use super::words::W;

/// The cookie of the colours.
pub const THEME_COOKIE: &str = "theme";
/// The cookie of the script: minutes that the reader's clock is ahead of UTC.
pub const OFFSET_COOKIE: &str = "utc_offset";
/// What both begin with where browsers hold them to HTTPS and to this very server.
pub const HOST_PREFIX: &str = "__Host-";
/// There are time zones up to 14 hours away.
const MAX_OFFSET_MIN: i32 = 14 * 60;

/// Which colours the page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the system says.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => W.theme_auto,
            Self::Light => W.theme_light,
            Self::Dark => W.theme_dark,
        }
    }

    pub fn icon(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "sun",
            Self::Dark => "moon",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }
}

/// What the frame of a page is drawn from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    pub theme: Theme,
    /// How far the reader's clock is from UTC; none: not known, and UTC it is.
    pub offset: Option<FixedOffset>,
}

impl Frame {
    /// `offset_min`: minutes, as the cookie has them.
    pub fn new(theme: Option<&str>, offset_min: Option<&str>) -> Self {
        let minutes = offset_min.and_then(|text| text.parse::<i32>().ok());
        let minutes =
            minutes.filter(|minutes| (-MAX_OFFSET_MIN..=MAX_OFFSET_MIN).contains(minutes));
        Self {
            theme: theme.and_then(Theme::named).unwrap_or_default(),
            offset: minutes.and_then(|minutes| FixedOffset::east_opt(minutes * 60)),
        }
    }
}

/// The switch alone, after it was switched.
#[derive(Template)]
#[template(path = "theme.html")]
pub struct ThemeFragment {
    pub frame: Frame,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_that_make_no_sense_are_as_good_as_none() {
        for offset in ["", "x", "100000", "-841", "-2147483648"] {
            let frame = Frame::new(Some("pink"), Some(offset));
            assert_eq!((frame.theme, frame.offset), (Theme::Auto, None), "{offset}");
        }
        let frame = Frame::new(Some("dark"), Some("-90"));
        assert_eq!(frame.theme, Theme::Dark);
        assert_eq!(
            frame.offset.map(|offset| offset.local_minus_utc()),
            Some(-5_400)
        );
    }

    #[test]
    fn the_switch_says_what_is_chosen() {
        let frame = Frame::new(Some("dark"), None);
        let form = ThemeFragment { frame }.render().unwrap();
        assert_eq!(form.matches("aria-pressed=\"true\"").count(), 1);
        assert!(
            form.contains("value=\"dark\" aria-pressed=\"true\""),
            "{form}"
        );
    }
}
