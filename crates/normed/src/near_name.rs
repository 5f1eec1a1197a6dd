//! The name that was probably meant.

/// The most similar of `names`, if it is similar enough to be a slip: another case or ending, or a letter in five. A name
/// with other digits is another image or another patient, and no slip.
pub(crate) fn near_name<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let small = name.to_lowercase();
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    let distance = |other: &str| {
        let other = other.to_lowercase();
        match other == small || stem(&other) == stem(&small) {
            true => 0,
            false => strsim::damerau_levenshtein(&other, &small),
        }
    };
    let most = small.chars().count().div_ceil(5);
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let same = names.filter(|other| digits(stem(other).as_str()) == digits(&stem(&small)));
    let near = same.map(|other| (distance(other), other)).filter(|(distance, _)| *distance <= most);
    near.min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_names_are_not() {
        let names = ["chest_1.png", "chest_2.png", "knee.dcm"];
        let near = |name| near_name(name, names.into_iter());
        assert_eq!(near("Chest_1.PNG"), Some("chest_1.png"));
        assert_eq!(near("chest_2.jpg"), Some("chest_2.png"));
        assert_eq!(near("chst_2.png"), Some("chest_2.png"));
        assert_eq!(near("knee"), Some("knee.dcm"));
        assert_eq!(near("head.png"), None);
        assert_eq!(near("chest_3.png"), None, "another image");
    }
}
