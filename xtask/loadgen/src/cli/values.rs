//! Values of options: durations, rates, cores, recorded moments.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Arrivals;

/// `10s`, `500ms`, `1.5m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("expected a number with a unit: 500ms, 10s, 2m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "is out of range".to_owned())
}

/// A whole number.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}

/// Requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if f64::is_finite(rate) => Ok(rate),
        _ => Err(format!("{text:?} is no rate in requests per second")),
    }
}

/// `A..B`.
pub(super) fn ramp(text: &str) -> Result<Arrivals, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("expected two rates: 100..2000")?;
    Ok(Arrivals::Ramp {
        from: rate(from)?,
        to: rate(to)?,
    })
}

/// `A,B,C`.
pub(super) fn step(text: &str) -> Result<Arrivals, String> {
    let rates = text.split(',').map(rate).collect::<Result<_, _>>()?;
    Ok(Arrivals::Step { rates })
}

/// `BASE,PEAK,AT,FOR`.
pub(super) fn spike(text: &str) -> Result<Arrivals, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let &[base, peak, at, lasts] = parts.as_slice() else {
        return Err(
            "expected base rate, peak rate, when and for how long: 100,1000,3s,2s".to_owned(),
        );
    };
    Ok(Arrivals::Spike {
        base: rate(base)?,
        peak: rate(peak)?,
        at: duration(at)?,
        lasts: duration(lasts)?,
    })
}

/// Moments in seconds, one a line, ascending; counted from the first, so that times of day will do. Empty lines and
/// those that begin with `#` are left out.
pub(super) fn replay(file: &Path) -> Result<Arc<[Duration]>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut moments: Vec<f64> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let problem = |what: &str| format!("line {}: {line:?} {what}", at + 1);
        let moment: f64 = line
            .parse()
            .map_err(|_| problem("is no number of seconds"))?;
        if !moment.is_finite() || moments.last().is_some_and(|last| *last > moment) {
            return Err(problem("comes before the line above it"));
        }
        moments.push(moment);
    }
    let first = *moments.first().ok_or("holds no moments")?;
    let offset = |moment: &f64| Duration::try_from_secs_f64(moment - first);
    moments
        .iter()
        .map(offset)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// `0` or `0,2`.
pub(super) fn cores(text: &str) -> Result<Vec<usize>, String> {
    let core = |core: &str| {
        core.parse()
            .map_err(|_| "expected numbers of cores: 0 or 0,2".to_owned())
    };
    text.split(',').map(core).collect()
}

/// `K: V`.
pub(super) fn header(text: &str) -> Result<super::Header, String> {
    let (name, value) = text.split_once(':').ok_or("expected 'name: value'")?;
    Ok(super::Header {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["", "10", "s", "-1s", "1e999s", "10 s", "nans"] {
            duration(text).expect_err(text);
        }
    }

    #[test]
    fn recorded_moments_are_counted_from_the_first() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            replay(file.path())
        };
        let moments =
            read("# seconds\n1700000000.5\n\n1700000000.75\n1700000002.5\n").expect("moments");
        let expected = [0, 250, 2_000].map(Duration::from_millis);
        assert_eq!(*moments, expected);
        assert_eq!(
            read("1\n0.5\n"),
            Err("line 2: \"0.5\" comes before the line above it".to_owned())
        );
        assert_eq!(
            read("x\n"),
            Err("line 1: \"x\" is no number of seconds".to_owned())
        );
        assert_eq!(read("#\n"), Err("holds no moments".to_owned()));
        read("0\n1e300\n").expect_err("beyond any duration");
    }

    #[test]
    fn rates_come_in_shapes() {
        assert!(matches!(
            ramp("10..20/s"),
            Ok(Arrivals::Ramp {
                from: 10.0,
                to: 20.0
            })
        ));
        assert!(matches!(step("1,2,3"), Ok(Arrivals::Step { rates }) if rates == [1.0, 2.0, 3.0]));
        assert!(matches!(
            spike("1,9,3s,500ms"),
            Ok(Arrivals::Spike { base: 1.0, peak: 9.0, at, lasts })
                if at == Duration::from_secs(3) && lasts == Duration::from_millis(500)
        ));
        for text in ["", "1", "1..", "..", "1..x", "1..inf"] {
            ramp(text).expect_err(text);
        }
        spike("1,2,3").expect_err("a part is missing");
    }
}
