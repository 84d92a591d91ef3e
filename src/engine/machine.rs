//! What the machine gives this process: memory and cores. It decides no limit.

use std::fs;
use std::path::Path;

/// The smallest of the control groups' limits and the machine's memory.
pub(crate) fn memory_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text)).unwrap_or(4 << 30);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&groups, |file| fs::read_to_string(file).ok()).into_iter().fold(total, u64::min)
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `MemTotal:       24658752 kB`
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Every limit from this process's group up to the root, of both versions of cgroups; `max` is none.
fn limits(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<u64> {
    let mut found = Vec::new();
    for line in groups.lines() {
        // `0::/user.slice` (v2) or `5:memory:/docker/…` (v1)
        let mut fields = line.splitn(3, ':');
        let (_, controllers, group) = (fields.next(), fields.next().unwrap_or(""), fields.next().unwrap_or("/"));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = read(&Path::new(root).join(group).join(file)).unwrap_or_default();
            found.extend(text.trim().parse::<u64>().ok());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_in_bytes() {
        assert_eq!(total_of("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(total_of("nothing"), None);
    }

    #[test]
    fn a_parent_group_limits_its_children() {
        let files = |file: &Path| match file.to_str().unwrap() {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_string()),
            "/sys/fs/cgroup/a/memory.max" => Some("1000\n".to_string()),
            _ => None,
        };
        assert_eq!(limits("0::/a/b\n", files), [1000]);
    }

    #[test]
    fn version_one_limits_count() {
        let files = |file: &Path| {
            (file == Path::new("/sys/fs/cgroup/memory/x/memory.limit_in_bytes")).then(|| "77".to_string())
        };
        assert_eq!(limits("5:cpu,memory:/x\n6:pids:/x\n", files), [77]);
    }
}
