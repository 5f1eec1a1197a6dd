//! The keys of a config.json, read one by one.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// An object inside a config file.
pub(super) struct ConfigKeys {
    /// The file and the way to the object, for errors.
    pub place: String,
    map: Map<String, Value>,
}

impl ConfigKeys {
    /// Those of `json`, which must be an object; `place` names it in errors.
    pub fn new(place: &str, json: &Value) -> Result<Self> {
        match json {
            Value::Object(map) => Ok(Self { place: place.to_owned(), map: map.clone() }),
            other => Err(Error::invalid(place, format!("{other} is no object of keys"))),
        }
    }

    /// Those of the object `key`; none if it is absent.
    pub fn section(&self, key: &str) -> Result<Option<Self>> {
        let place = format!("{}: {key}", self.place);
        self.value(key).map(|json| Self::new(&place, json)).transpose()
    }

    /// What `key` says, if it is there and not null.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.value(key).map(|value| T::deserialize(value));
        value.transpose().map_err(|e| Error::invalid(&self.place, format!("{key}: {e}")))
    }

    /// As [`ConfigKeys::get`], `default` if it is not there.
    pub fn get_or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.get(key)?.unwrap_or(default))
    }

    /// Whether `key` is there, null or not.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// That what `key` says is one of `known`, or absent.
    pub fn expect_one_of(&self, key: &str, known: &[&str]) -> Result<()> {
        match self.get::<String>(key)? {
            Some(other) if !known.contains(&other.as_str()) => {
                let cause = format!("{key} is {other:?}; only {known:?} is supported");
                Err(Error::invalid(&self.place, cause))
            }
            _ => Ok(()),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

/// That each size, with its key and the most that is believed, can be.
pub(super) fn check_sizes(place: &str, sizes: &[(&str, usize, usize)]) -> Result<()> {
    for &(key, value, most) in sizes {
        if value == 0 || value > most {
            return Err(Error::invalid(place, format!("{key} is {value}, not 1 to {most}")));
        }
    }
    Ok(())
}

/// That `value` is a multiple of `unit`.
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

/// That an epsilon is between 0 and 1, and that a rate of dropout is from 0 to below 1.
pub(super) fn check_rates(place: &str, eps: (&str, f64), dropout: (&str, f64)) -> Result<()> {
    if !(eps.1 > 0.0 && eps.1 < 1.0) {
        return Err(Error::invalid(place, format!("{} is {}, not between 0 and 1", eps.0, eps.1)));
    }
    if !(0.0..1.0).contains(&dropout.1) {
        let cause = format!("{} is {}, not from 0 to below 1", dropout.0, dropout.1);
        return Err(Error::invalid(place, cause));
    }
    Ok(())
}
