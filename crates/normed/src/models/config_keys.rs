//! Reading a config.json key by key, and checking the sizes in it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The keys of one JSON object in a config file.
pub(super) struct ConfigKeys {
    /// The file and the path to the object in it; errors name it.
    pub place: String,
    map: Map<String, Value>,
}

impl ConfigKeys {
    /// The keys of `json`; `place` names it in errors.
    ///
    /// # Errors
    /// If `json` is not an object.
    pub fn new(place: &str, json: &Value) -> Result<Self> {
        match json {
            Value::Object(map) => Ok(Self { place: place.to_owned(), map: map.clone() }),
            other => Err(Error::invalid(place, format!("expected a JSON object, found {other}"))),
        }
    }

    /// The keys of the object that `key` holds; none if it is absent or null.
    ///
    /// # Errors
    /// If the value is not an object.
    pub fn section(&self, key: &str) -> Result<Option<Self>> {
        let place = format!("{}: {key}", self.place);
        self.value(key).map(|json| Self::new(&place, json)).transpose()
    }

    /// The value of `key`; none if it is absent or null.
    ///
    /// # Errors
    /// If the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.value(key).map(|value| T::deserialize(value));
        value.transpose().map_err(|e| Error::invalid(&self.place, format!("{key}: {e}")))
    }

    /// The value of `key`, or `default` if it is absent or null.
    ///
    /// # Errors
    /// As [`ConfigKeys::get`].
    pub fn get_or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.get(key)?.unwrap_or(default))
    }

    /// The tokens that `key` holds, one or a list; none if it is absent or null. Negative ids are left out: in old files,
    /// -1 is no token.
    ///
    /// # Errors
    /// If the value is neither an integer nor a list of integers.
    pub fn token_ids(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let ids: Vec<i64> = match self.value(key) {
            None => return Ok(None),
            Some(Value::Array(_)) => self.get_or(key, Vec::new())?,
            Some(_) => self.get(key)?.into_iter().collect(),
        };
        Ok(Some(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()))
    }

    /// Whether `key` is present, null or not.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Checks that the value of `key` is one of `known`, if it is present.
    ///
    /// # Errors
    /// If it is something else.
    pub fn expect_one_of(&self, key: &str, known: &[&str]) -> Result<()> {
        match self.get::<String>(key)? {
            Some(other) if !known.contains(&other.as_str()) => {
                let cause = format!("{key} is {other:?}; supported: {}", known.join(", "));
                Err(Error::invalid(&self.place, cause))
            }
            _ => Ok(()),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

/// Checks that each size, given as key, value and maximum, is from 1 to its maximum.
pub(super) fn check_sizes(place: &str, sizes: &[(&str, usize, usize)]) -> Result<()> {
    for &(key, value, maximum) in sizes {
        if value == 0 || value > maximum {
            return Err(Error::invalid(place, format!("{key} is {value}, not 1 to {maximum}")));
        }
    }
    Ok(())
}

/// Checks that `value` is a multiple of `unit`.
pub(super) fn check_multiple(
    place: &str,
    (key, value): (&str, usize),
    (of, unit): (&str, usize),
) -> Result<()> {
    if value.is_multiple_of(unit) {
        return Ok(());
    }
    Err(Error::invalid(place, format!("{key} {value} is not a multiple of {of} {unit}")))
}

/// Checks that an epsilon is between 0 and 1, and that each dropout rate is at least 0 and below 1.
pub(super) fn check_rates(place: &str, eps: (&str, f64), dropout: &[(&str, f64)]) -> Result<()> {
    if !(eps.1 > 0.0 && eps.1 < 1.0) {
        return Err(Error::invalid(place, format!("{} is {}, not between 0 and 1", eps.0, eps.1)));
    }
    match dropout.iter().find(|(_, rate)| !(0.0..1.0).contains(rate)) {
        None => Ok(()),
        Some((key, rate)) => {
            let cause = format!("{key} is {rate}; it must be at least 0 and below 1");
            Err(Error::invalid(place, cause))
        }
    }
}
