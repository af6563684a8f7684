use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

#[test]
fn a_video_is_found_in_every_form_of_its_url_and_in_nothing_else() {
    for url in [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "http://youtube.com/watch?list=x&v=dQw4w9WgXcQ&t=3",
        "https://youtu.be/dQw4w9WgXcQ?si=x",
        "https://m.youtube.com/shorts/dQw4w9WgXcQ",
        "https://music.youtube.com/watch?v=dQw4w9WgXcQ#x",
        "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ/",
        "https://YouTube.com/live/dQw4w9WgXcQ?feature=share",
    ] {
        assert_eq!(Video::of_url(url).as_ref().map(Video::id), Some("dQw4w9WgXcQ"), "{url}");
    }
    for url in [
        "",
        "dQw4w9WgXcQ",
        "ytsearch:dQw4w9WgXcQ",
        "file:///etc/passwd",
        "https://evil.example/watch?v=dQw4w9WgXcQ",
        "https://youtube.com.evil.example/watch?v=dQw4w9WgXcQ",
        "https://youtube.com@evil.example/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/watch?v=short",
        "https://www.youtube.com/watch?v=dQw4w9WgXc%20",
        "https://www.youtube.com/channel/dQw4w9WgXcQ",
    ] {
        assert_eq!(Video::of_url(url), None, "{url}");
    }
}

/// A program that does this.
fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn tools(folder: &Path, script: &str) -> VideoTools {
    let yt_dlp = program(folder, "yt-dlp", script);
    VideoTools { yt_dlp, ffmpeg: folder.join("ffmpeg"), url: "http://127.0.0.1:9/{id}".into() }
}

fn video() -> Video {
    Video::of_url("https://youtu.be/dQw4w9WgXcQ").unwrap()
}

#[tokio::test]
async fn both_programs_say_their_versions_or_that_they_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(folder.path(), "echo 2026.10.26");
    assert_eq!(tools.version().await.unwrap(), "2026.10.26");
    assert_eq!(tools.ffmpeg_version().await.unwrap_err().fault, VideoFault::Tool);
    program(
        folder.path(),
        "ffmpeg",
        "echo 'ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026'; echo built with gcc",
    );
    assert_eq!(tools.ffmpeg_version().await.unwrap(), "5.1.9-0+deb12u1");
}

#[tokio::test]
async fn what_was_fetched_is_where_the_program_says_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let script = "while [ $# -gt 0 ]; do case $1 in --paths) out=$2;; esac; shift; done
        echo x > $out/video.m4a; echo noise; echo $out/video.m4a";
    let tools_of = tools(folder.path(), script);
    let (one, other) =
        (tools_of.fetch(&video(), &out).await.unwrap(), tools_of.fetch(&video(), &out).await.unwrap());
    for fetched in [&one, &other] {
        assert!(fetched.starts_with(&out) && fetched.ends_with("video.m4a"), "{}", fetched.display());
    }
    assert_ne!(one, other, "a program that goes on by itself writes where no other does");
    for elsewhere in ["echo /etc/passwd", "exit 0", "echo /nowhere/video.m4a"] {
        let error = tools(folder.path(), elsewhere).fetch(&video(), &out).await.unwrap_err();
        assert_eq!(error.fault, VideoFault::Refused, "{elsewhere}: to end well is not to have a file");
    }
}

#[tokio::test]
async fn reasons_are_told_apart_by_their_words() {
    let folder = tempfile::tempdir().unwrap();
    for (said, fault, message) in [
        (
            "ERROR: [youtube] dQw4w9WgXcQ: Private video. Sign in",
            VideoFault::Unavailable,
            "Private video. Sign in",
        ),
        (
            "ERROR: [youtube] x: Sign in to confirm you\u{2019}re not a bot",
            VideoFault::Later,
            "Sign in to confirm you\u{2019}re not a bot",
        ),
        ("WARNING: x\nERROR: [generic] HTTP Error 429: Too Many", VideoFault::Later, "Too Many"),
        ("something else", VideoFault::Failed, "something else"),
        ("", VideoFault::Failed, "no reason"),
    ] {
        std::fs::write(folder.path().join("said"), said).unwrap();
        let script = format!("cat {}/said >&2; exit 1", folder.path().display());
        let error = tools(folder.path(), &script).fetch(&video(), folder.path()).await.unwrap_err();
        assert_eq!((error.fault, error.message.as_str()), (fault, message));
    }
    let absent = VideoTools { yt_dlp: folder.path().join("none"), ..tools(folder.path(), "") };
    assert_eq!(absent.version().await.unwrap_err().fault, VideoFault::Tool);
    assert_eq!(tools(folder.path(), "echo 2026.10.26").version().await.unwrap(), "2026.10.26");
}

#[tokio::test]
async fn who_is_not_waited_for_any_more_ends_with_all_that_was_started() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let script = format!("sh -c 'while :; do echo >> {}; sleep 0.01; done' & wait", alive.display());
    let tools = tools(folder.path(), &script);
    let fetching = tokio::spawn({
        let out = folder.path().to_owned();
        async move { tools.fetch(&video(), &out).await }
    });
    while !alive.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fetching.abort();
    let _ = fetching.await;
    let length = || std::fs::metadata(&alive).unwrap().len();
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let before = length();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if length() == before {
            break;
        }
        assert!(Instant::now() < give_up, "what was started goes on");
    }
}

#[tokio::test]
async fn a_program_that_says_too_much_is_heard_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = "i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; echo 'ERROR: Private video' >&2; exit 1";
    let error = tools(folder.path(), script).fetch(&video(), folder.path()).await.unwrap_err();
    assert_eq!(error.fault, VideoFault::Unavailable);
}
