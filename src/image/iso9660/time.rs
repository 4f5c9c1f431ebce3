//! Points in time as ISO 9660 records them.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A time that a directory record can hold: a whole second of the years 1900 to 2155 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(DateTime);

/// A time outside the years 1900 to 2155.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} seconds since 1970 is outside of the years 1900 to 2155, which ISO 9660 can record")]
pub struct TimeOutOfRange(i64);

/// As `2000-01-01T00:00:00Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.0)
    }
}

impl Time {
    /// 2000-01-01 00:00:00 UTC: the time of everything in our images unless the caller has another.
    pub const FIXED: Self = Self(jiff::civil::datetime(2000, 1, 1, 0, 0, 0, 0));

    /// 1970-01-01 00:00:00 UTC: the time of what has none.
    pub(super) const UNKNOWN: Self = Self(jiff::civil::datetime(1970, 1, 1, 0, 0, 0, 0));

    /// From seconds since 1970-01-01 00:00:00 UTC, as in `SOURCE_DATE_EPOCH`.
    pub fn from_unix(seconds: i64) -> Result<Self, TimeOutOfRange> {
        let timestamp = Timestamp::from_second(seconds).map_err(|_| TimeOutOfRange(seconds))?;
        let time = Offset::UTC.to_datetime(timestamp);
        if (1900..=2155).contains(&time.year()) { Ok(Self(time)) } else { Err(TimeOutOfRange(seconds)) }
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub fn unix(self) -> i64 {
        Offset::UTC.to_timestamp(self.0).map_or(0, Timestamp::as_second)
    }

    /// As a directory record has it (ECMA-119 9.1.5): years since 1900, month, day, hour, minute, second, offset 0.
    pub(super) fn record(self) -> [u8; 7] {
        let year = u8::try_from(self.0.year() - 1900).unwrap_or_default();
        let [month, day, hour, minute, second] =
            [self.0.month(), self.0.day(), self.0.hour(), self.0.minute(), self.0.second()].map(i8::unsigned_abs);
        [year, month, day, hour, minute, second, 0]
    }

    /// Reads what [`Time::record`] writes, with an offset from UTC in quarters of an hour; none if it is no date.
    pub(super) fn from_record(bytes: [u8; 7]) -> Option<Self> {
        let [month, day, hour, minute, second] = [bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]].map(i8::try_from);
        let year = 1900 + i16::from(bytes[0]);
        let local = DateTime::new(year, month.ok()?, day.ok()?, hour.ok()?, minute.ok()?, second.ok()?, 0).ok()?;
        Self::at(local, bytes[6])
    }

    /// As a volume descriptor has it (ECMA-119 8.4.26.1): 16 digits down to hundredths of a second, offset 0.
    pub(super) fn volume(self) -> [u8; 17] {
        let time = self.0;
        let digits = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}00\0",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        digits.as_bytes().try_into().unwrap_or([b'0'; 17])
    }

    /// Reads what [`Time::volume`] writes, to the second, with an offset from UTC; none if it is no date.
    pub(super) fn from_volume(bytes: &[u8; 17]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            let digits =
                std::str::from_utf8(&bytes[range]).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<i16>().ok()
        };
        let part = |at: usize| i8::try_from(number(at..at + 2)?).ok();
        let local = DateTime::new(number(0..4)?, part(4)?, part(6)?, part(8)?, part(10)?, part(12)?, 0).ok()?;
        Self::at(local, bytes[16])
    }

    /// A local time at an offset from UTC in quarters of an hour.
    fn at(local: DateTime, quarters: u8) -> Option<Self> {
        let offset = Offset::from_seconds(i32::from(quarters.cast_signed()) * 900).ok()?;
        Self::from_unix(offset.to_timestamp(local).ok()?.as_second()).ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn fixed_time_reads_as_written() {
        assert_eq!(Time::FIXED.unix(), 946_684_800);
        assert_eq!(Time::FIXED.to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Time::from_unix(946_684_800), Ok(Time::FIXED));
        assert_eq!(Time::FIXED.record(), [100, 1, 1, 0, 0, 0, 0]);
        assert_eq!(&Time::FIXED.volume(), b"2000010100000000\0");
    }

    #[test]
    fn records_round_trip_with_offsets() {
        for seconds in [-2_208_988_800, -1, 0, 1_767_225_599, 5_869_583_999] {
            let time = Time::from_unix(seconds).unwrap();
            assert_eq!(Time::from_record(time.record()).map(Time::unix), Some(seconds));
        }
        // 02:00 at UTC+2 (eight quarters) is midnight.
        assert_eq!(Time::from_record([100, 1, 1, 2, 0, 0, 8]), Some(Time::FIXED));
        for wrong in [[100, 0, 1, 0, 0, 0, 0], [100, 2, 30, 0, 0, 0, 0], [100, 1, 1, 24, 0, 0, 0], [255; 7]] {
            assert_eq!(Time::from_record(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn volumes_round_trip_with_offsets() {
        for seconds in [-2_208_988_800, -1, 0, 1_767_225_599, 5_869_583_999] {
            let time = Time::from_unix(seconds).unwrap();
            assert_eq!(Time::from_volume(&time.volume()).map(Time::unix), Some(seconds));
        }
        assert_eq!(Time::from_volume(b"2000010102000000\x08"), Some(Time::FIXED));
        for wrong in [b"0000000000000000\0", b"2000013201000000\0", b"20000101+1000000\0", b"                \0"] {
            assert_eq!(Time::from_volume(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn refuses_what_a_record_cannot_hold() {
        for seconds in [-2_208_988_801, 5_869_584_000, i64::MIN, i64::MAX] {
            assert_eq!(Time::from_unix(seconds), Err(TimeOutOfRange(seconds)));
        }
    }
}
