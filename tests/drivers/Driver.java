// pgjdbc as one of the clients of tests/drivers.rs: does what it is told and prints what it gets. The connection is
// libpq's environment; the test judges.
//
//   ask QUESTIONS        prepared statements with parameters, transactions, metadata; as the driver likes, then in binary
//   read text|binary     every row of drivers.numbers through a cursor of 10,000 rows, folded

import java.math.BigDecimal;
import java.nio.file.*;
import java.sql.*;
import java.time.*;
import java.util.*;

public class Driver {
    static final String ROWS = "SELECT id, small, amount, name, note, day, at, flag, ratio FROM drivers.numbers";

    public static void main(String[] arguments) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, true, "UTF-8"));
        if (arguments[0].equals("ask")) {
            for (String format : List.of("prepareThreshold=5", "prepareThreshold=-1")) {
                System.out.println(format);
                try (Connection connection = connect(format)) {
                    ask(connection, arguments[1]);
                    transactions(connection);
                    metadata(connection);
                }
            }
        } else {
            boolean binary = arguments[1].equals("binary");
            try (Connection connection = connect(binary ? "prepareThreshold=-1" : "binaryTransfer=false")) {
                read(connection);
            }
        }
    }

    static Connection connect(String more) throws SQLException {
        Map<String, String> env = System.getenv();
        return DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/"
            + env.get("PGDATABASE") + "?sslmode=verify-full&sslrootcert=" + env.get("PGSSLROOTCERT")
            + "&channelBinding=require&" + more, env.get("PGUSER"), env.get("PGPASSWORD"));
    }

    static void ask(Connection connection, String path) throws Exception {
        String sql = null;
        for (String line : Files.readAllLines(Path.of(path))) {
            if (line.startsWith(" ")) {
                System.out.println(sql + "\n  " + line.strip() + "\n  " + answer(connection, sql, line.strip().split(" ; ")));
            } else if (!line.isEmpty() && !line.startsWith("#")) {
                sql = line;
            }
        }
    }

    // The driver's own placeholder is ?, and it numbers them itself: $n becomes the n-th wherever it stands.
    static String answer(Connection connection, String sql, String[] parameters) {
        List<Integer> order = new ArrayList<>();
        java.util.regex.Matcher matcher = java.util.regex.Pattern.compile("\\$(\\d+)").matcher(sql);
        while (matcher.find()) order.add(Integer.parseInt(matcher.group(1)) - 1);
        try (PreparedStatement statement = connection.prepareStatement(matcher.replaceAll("?"))) {
            for (int i = 0; i < order.size(); i++) set(connection, statement, i + 1, parameters[order.get(i)]);
            if (!statement.execute()) return "updated " + statement.getUpdateCount();
            return shown(statement.getResultSet());
        } catch (SQLException error) {
            return told(error);
        }
    }

    static void set(Connection connection, PreparedStatement statement, int at, String parameter) throws SQLException {
        String of = parameter.substring(0, parameter.indexOf(' '));
        String value = parameter.substring(of.length() + 1);
        if (value.equals("∅")) {
            statement.setNull(at, NULLS.getOrDefault(of, Types.ARRAY));
            return;
        }
        String plain = value.equals("ε") ? "" : value;
        switch (of) {
            case "int4" -> statement.setInt(at, Integer.parseInt(value));
            case "int8" -> statement.setLong(at, Long.parseLong(value));
            case "text" -> statement.setString(at, plain);
            case "numeric" -> statement.setBigDecimal(at, new BigDecimal(value));
            case "date" -> statement.setObject(at, LocalDate.parse(value));
            case "timestamptz" -> statement.setObject(at, OffsetDateTime.parse(value));
            case "bool" -> statement.setBoolean(at, value.equals("true"));
            case "float8" -> statement.setDouble(at, Double.parseDouble(value));
            default -> {
                String[] texts = plain.isEmpty() ? new String[0] : value.split("¦");
                String element = of.substring(0, of.length() - 2);
                Object[] elements = Arrays.stream(texts).map(text -> text.equals("∅") ? null
                    : element.equals("text") ? text : element.equals("int4") ? (Object) Integer.valueOf(text) : Long.valueOf(text)).toArray();
                statement.setArray(at, connection.createArrayOf(element, elements));
            }
        }
    }

    static final Map<String, Integer> NULLS = Map.of("int4", Types.INTEGER, "int8", Types.BIGINT, "text", Types.VARCHAR,
        "numeric", Types.NUMERIC, "date", Types.DATE, "timestamptz", Types.TIMESTAMP_WITH_TIMEZONE, "bool", Types.BOOLEAN,
        "float8", Types.DOUBLE);

    static String shown(ResultSet rows) throws SQLException {
        StringBuilder text = new StringBuilder();
        ResultSetMetaData about = rows.getMetaData();
        for (int i = 1; i <= about.getColumnCount(); i++) {
            text.append(about.getColumnLabel(i)).append(' ').append(about.getColumnTypeName(i)).append(' ');
            text.append(about.getColumnClassName(i)).append("; ");
        }
        while (rows.next()) {
            text.append("\n   ");
            for (int i = 1; i <= about.getColumnCount(); i++) text.append(" | ").append(spelt(rows, i, about));
        }
        return text.toString();
    }

    static Object spelt(ResultSet rows, int i, ResultSetMetaData about) throws SQLException {
        if (about.getColumnTypeName(i).equals("timestamptz")) return rows.getObject(i, OffsetDateTime.class);
        Object value = rows.getObject(i);
        return value instanceof Array array ? Arrays.toString((Object[]) array.getArray()) : value;
    }

    static String told(SQLException error) {
        return error.getSQLState() + " " + error.getMessage().lines().findFirst().orElse("");
    }

    static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            for (String sql : List.of("SELECT 'in it'", "SELECT id / 0 FROM drivers.numbers", "SELECT 1")) {
                try {
                    System.out.println("transaction: " + shown(statement.executeQuery(sql)));
                } catch (SQLException error) {
                    System.out.println("transaction: " + told(error));
                }
            }
            connection.rollback();
            System.out.println("transaction: " + shown(statement.executeQuery("SELECT 'goes on'")));
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        System.out.println(about.getDatabaseProductName() + " " + about.getDatabaseMajorVersion());
        try (ResultSet tables = about.getTables(null, "drivers", "%", new String[] {"TABLE"})) {
            while (tables.next()) System.out.println("table " + tables.getString("TABLE_NAME"));
        }
        try (ResultSet columns = about.getColumns(null, "drivers", "numbers", "%")) {
            while (columns.next()) {
                System.out.println("column " + columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME") + " "
                    + columns.getInt("DATA_TYPE") + " " + columns.getInt("COLUMN_SIZE") + " " + columns.getInt("DECIMAL_DIGITS"));
            }
        }
    }

    static void read(Connection connection) throws SQLException {
        long begin = System.nanoTime(), rows = 0, ids = 0, smalls = 0, letters = 0, notes = 0, days = 0, seconds = 0, flags = 0;
        BigDecimal amounts = BigDecimal.ZERO;
        double ratios = 0;
        long epoch = LocalDate.of(2000, 1, 1).toEpochDay();
        // Without a transaction the driver would hold all rows at once.
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement(ROWS)) {
            statement.setFetchSize(10_000);
            ResultSet all = statement.executeQuery();
            for (; all.next(); rows++) {
                ids += all.getLong(1);
                smalls += all.getInt(2);
                amounts = amounts.add(all.getBigDecimal(3));
                letters += all.getString(4).length();
                notes += all.getString(5) == null ? 0 : 1;
                days += all.getObject(6, LocalDate.class).toEpochDay() - epoch;
                seconds += all.getObject(7, OffsetDateTime.class).toEpochSecond();
                flags += all.getBoolean(8) ? 1 : 0;
                ratios += all.getDouble(9);
            }
        }
        connection.commit();
        double took = (System.nanoTime() - begin) / 1e9;
        System.out.printf("folded %d %d %d %s %d %d %d %d %d %d%n", rows, ids, smalls, amounts, letters, notes, days, seconds,
            flags, (long) ratios);
        System.out.printf(Locale.ROOT, "seconds %.2f%n", took);
    }
}
