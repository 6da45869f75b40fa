//! The verifier's last words.

/// What a log comes to: the line that says why, without the statistics behind it; and the instruction it is about, where
/// that can be told.
pub fn summary(log: &str) -> Option<(String, Option<usize>)> {
    let is_statistics = |line: &str| {
        line.starts_with("processed ") || line.starts_with("verification time") || line.starts_with("stack depth")
    };
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistics(line)).collect();
    let last = lines.last()?;
    // `12: (79) r1 = *(u64 *)(r1 +0)`
    let instruction = |line: &&str| line.split_once(": (").and_then(|(number, _)| number.parse().ok());
    Some(((*last).to_owned(), lines.iter().rev().find_map(instruction)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_before_the_statistics() {
        let log = "0: R1=ctx() R10=fp0\n; return *(int *)0; @ a.c:3\n0: (b7) r1 = 0                          ; R1_w=0\n\
                   1: (61) r0 = *(u32 *)(r1 +0)\nR1 invalid mem access 'scalar'\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";
        assert_eq!(summary(log), Some(("R1 invalid mem access 'scalar'".to_owned(), Some(1))));
        assert_eq!(summary("processed 2 insns\n"), None);
        assert_eq!(summary(""), None);
    }
}
