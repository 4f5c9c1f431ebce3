//! When the guest got where in its newest boot, by its own clock.

use super::report::Reached;
use crate::boot::BootEvent;

/// What was told of the newest boot, in its order. The log of the channel begins anew when the machine is started, and
/// goes on when the guest reboots by itself.
pub(super) fn newest_boot(events: Vec<BootEvent>) -> Vec<BootEvent> {
    let Some(newest) = events.last().map(|event| event.boot_id) else { return events };
    let mut boot: Vec<_> = events.into_iter().filter(|event| event.boot_id == newest).collect();
    // Several processes report, each with the time when it looked.
    boot.sort_by(|a, b| a.uptime.total_cmp(&b.uptime));
    boot
}

/// Each stage with the seconds since the guest's kernel started, and since the line before.
pub(super) fn table(stages: &[Reached]) -> String {
    let mut rows = vec![["STAGE", "AT", "AFTER"].map(String::from).to_vec()];
    let mut before = None;
    for stage in stages {
        let after = before.map_or_else(|| "-".to_owned(), |before: f64| seconds(stage.seconds - before));
        rows.push(vec![stage.to_string(), seconds(stage.seconds), after]);
        before = Some(stage.seconds);
    }
    crate::commands::table(&rows)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::report::Boot;
    use super::*;
    use crate::boot::{News, Stage};

    fn event(boot: u128, uptime: f64, stage: Stage, news: News) -> BootEvent {
        let (booted, instance) = (1_700_000_000, String::new());
        BootEvent { boot_id: uuid::Uuid::from_u128(boot), booted, instance, uptime, stage, news }
    }

    #[test]
    fn the_newest_boot_is_shown_in_the_order_of_its_clock() {
        let events = vec![
            event(1, 12.5, Stage::SeedRead, News::Reached),
            event(1, 99.0, Stage::KubeletActive, News::Reached),
            event(2, 10.04, Stage::PayloadMounted, News::Reached),
            event(2, 12.06, Stage::ContainerdActive, News::Failed("boom".to_owned())),
            event(2, 11.25, Stage::ImagesImported, News::Begun),
        ];
        let wanted = "STAGE                       AT       AFTER\n\
                      payload mounted             10.0 s   -\n\
                      begun: images imported      11.2 s   1.2 s\n\
                      failed: containerd active   12.1 s   0.8 s\n";
        let boot = Boot::of(&newest_boot(events)).unwrap();
        assert_eq!((boot.id, table(&boot.stages).as_str()), (uuid::Uuid::from_u128(2), wanted));
        assert_eq!(Boot::of(&newest_boot(Vec::new())), None);
    }
}
