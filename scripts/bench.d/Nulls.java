/** Null checks that the JVM makes by SIGSEGV: prints ns of CPU and of wall for each exception. usage: Nulls COUNT */
public class Nulls {
    int value;

    static int read(Nulls n) {
        return n.value;
    }

    static int storm(int count) {
        int caught = 0;
        for (int i = 0; i < count; i++) {
            try {
                caught += read(null);
            } catch (NullPointerException e) {
                caught++;
            }
        }
        return caught;
    }

    public static void main(String[] args) {
        int n = Integer.parseInt(args[0]);
        var thread = java.lang.management.ManagementFactory.getThreadMXBean();
        storm(n / 5 + 20000);
        long cpu = thread.getCurrentThreadCpuTime(), wall = System.nanoTime();
        int caught = storm(n);
        cpu = thread.getCurrentThreadCpuTime() - cpu;
        wall = System.nanoTime() - wall;
        if (caught != n) throw new AssertionError(caught);
        System.out.printf("%.1f %.1f%n", (double) cpu / n, (double) wall / n);
    }
}
