//! The files for people who have Docker: they parse, and every image is pinned. Nothing here needs Docker.

use std::fs;

use serde_yaml_ng::Value;

use crate::tree;

fn read(name: &str) -> String {
    fs::read_to_string(tree::root().join("docker").join(name)).unwrap()
}

/// An exact version or a digest: at least two numbers in the tag, never `latest`.
fn is_pinned(image: &str) -> bool {
    let exact = regex::Regex::new(r"^[a-z0-9./-]+:[vA-Z]*[A-Z.]*\d+[.-]\d+[\w.-]*(@sha256:[0-9a-f]{64})?$").unwrap();
    exact.is_match(image)
}

#[test]
fn a_pin_is_an_exact_version() {
    for good in ["rust:1.95.0-bookworm", "minio/minio:RELEASE.2025-09-07T16-13-09Z", "debian:12.11-slim", "a/b:v1.8.0"]
    {
        assert!(is_pinned(good), "{good}");
    }
    for bad in ["rust", "rust:latest", "rust:1", "debian:bookworm-slim", "a/b:v1"] {
        assert!(!is_pinned(bad), "{bad}");
    }
}

#[test]
fn the_dockerfile_builds_from_pinned_images_and_runs_unprivileged() {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines: Vec<(&str, &str)> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(char::is_whitespace).unwrap_or_else(|| panic!("not an instruction: {line}")))
        .collect();
    let known = ["FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD", "ENV", "ARG"];
    let mut stages = Vec::new();
    for (instruction, rest) in &lines {
        assert!(known.contains(instruction), "unknown instruction {instruction}");
        if *instruction == "FROM" {
            let (image, stage) = rest.split_once(" AS ").unwrap_or((rest, ""));
            assert!(is_pinned(image), "{image} is not pinned");
            stages.push(stage);
        }
        if let Some(from) = rest.strip_prefix("--from=") {
            assert!(stages.contains(&from.split_whitespace().next().unwrap()), "no stage for {rest}");
        }
        if matches!(*instruction, "ENTRYPOINT" | "CMD") {
            serde_json::from_str::<Vec<String>>(rest)
                .unwrap_or_else(|e| panic!("{instruction} is not a JSON array: {e}"));
        }
    }
    assert_eq!(lines[0].0, "FROM");
    let user = lines.iter().rev().find(|(instruction, _)| matches!(*instruction, "USER" | "FROM")).unwrap();
    assert_eq!(user.0, "USER", "the last stage runs as root");
}

#[test]
fn the_compose_file_parses_and_pins_every_image() {
    let compose: Value = serde_yaml_ng::from_str(&read("compose.yaml")).unwrap();
    let services = compose["services"].as_mapping().unwrap();
    assert!(services.len() >= 3);
    for (name, service) in services {
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name:?} has no image"));
        let built_here = service.get("build").is_some() && image.ends_with(":local");
        assert!(is_pinned(image) || built_here, "{image} is not pinned");
        for port in service.get("ports").and_then(Value::as_sequence).into_iter().flatten() {
            let port = port.as_str().unwrap();
            assert!(port.starts_with("127.0.0.1:"), "{name:?} listens beyond loopback: {port}");
        }
    }
    let dockerfile = compose["services"]["lakegate"]["build"]["dockerfile"].as_str().unwrap();
    assert!(tree::root().join(dockerfile).is_file());
}
